/** `proxy_inject_admission_*`: reviews of pods by owner's kind, namespace and where the annotation stands; answers also by skip reason. */

/** Namespaces come and go for as long as a control plane runs: past this many series new ones are not counted. */
const SERIES_MAX = 5000;

export function createInjectorMetrics() {
  const requests = new Map<string, number>();
  const responses = new Map<string, number>();
  const count = (series: Map<string, number>, labels: Record<string, string>) => {
    const key = Object.entries(labels)
      .map(([name, value]) => `${name}="${value.replace(/["\\\n]/g, '_')}"`)
      .join(',');
    if (series.has(key) || series.size < SERIES_MAX) series.set(key, (series.get(key) ?? 0) + 1);
  };
  const labels = (ownerKind: string, namespace: string, annotationAt: string) => ({
    owner_kind: ownerKind.toLowerCase(),
    namespace,
    annotation_at: annotationAt,
  });
  return {
    countRequest(ownerKind: string, namespace: string, annotationAt: string): void {
      count(requests, labels(ownerKind, namespace, annotationAt));
    },
    countResponse(ownerKind: string, namespace: string, annotationAt: string, skipReason: string): void {
      const skip = skipReason ? 'true' : 'false';
      count(responses, { ...labels(ownerKind, namespace, annotationAt), skip, skip_reason: skipReason });
    },
    render(): string {
      return [
        ...family('proxy_inject_admission_requests_total', 'Pods reviewed for injection.', requests),
        ...family('proxy_inject_admission_responses_total', 'Answers about pods, skipped or injected.', responses),
      ]
        .map((line) => `${line}\n`)
        .join('');
    },
  };
}

const family = (name: string, help: string, series: Map<string, number>): string[] => [
  `# HELP ${name} ${help}`,
  `# TYPE ${name} counter`,
  ...[...series].map(([labels, value]) => `${name}{${labels}} ${value}`),
];
