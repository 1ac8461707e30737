/** Counters and gauges of the control plane in Prometheus' text format. */

type Labels = Readonly<Record<string, string>>;

/** Series of one family; past it, new label sets are counted in none, so that no peer can fill the memory. */
const SERIES_MAX = 1_000;

export class Family {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge';
  readonly #values = new Map<string, number>();

  constructor(name: string, type: 'counter' | 'gauge', help: string) {
    this.name = name;
    this.type = type;
    this.help = help;
  }

  add(labels: Labels = {}, amount = 1): void {
    const key = formatLabels(labels);
    const value = this.#values.get(key);
    if (value !== undefined || this.#values.size < SERIES_MAX) this.#values.set(key, (value ?? 0) + amount);
  }

  set(value: number, labels: Labels = {}): void {
    const key = formatLabels(labels);
    if (this.#values.has(key) || this.#values.size < SERIES_MAX) this.#values.set(key, value);
  }

  get(labels: Labels = {}): number {
    return this.#values.get(formatLabels(labels)) ?? 0;
  }

  render(): string {
    const head = `# HELP ${this.name} ${this.help}\n# TYPE ${this.name} ${this.type}\n`;
    return head + [...this.#values].map(([labels, value]) => `${this.name}${labels} ${value}\n`).join('');
  }
}

export class MetricRegistry {
  readonly #families = new Map<string, Family>();
  readonly #collectors: (() => void)[] = [];

  counter(name: string, help: string): Family {
    return this.#family(name, 'counter', help);
  }

  gauge(name: string, help: string): Family {
    return this.#family(name, 'gauge', help);
  }

  /** Runs before each rendering, to set gauges. */
  collect(collector: () => void): void {
    this.#collectors.push(collector);
  }

  render(): string {
    for (const collector of this.#collectors) collector();
    return [...this.#families.values()].map((family) => family.render()).join('');
  }

  #family(name: string, type: 'counter' | 'gauge', help: string): Family {
    let family = this.#families.get(name);
    if (!family) {
      family = new Family(name, type, help);
      this.#families.set(name, family);
    }
    return family;
  }
}

function formatLabels(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeValue(value)}"`);
  return pairs.length > 0 ? `{${pairs.join(',')}}` : '';
}

function escapeValue(value: string): string {
  return value.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n');
}
