/** Voting's connection to `store`: one at a time, kept open, opened anew when it breaks; requests are answered in order. */
import net from 'node:net';

/** An answer that takes longer is an error of the call that waits for it. */
const ANSWER_TIMEOUT_MS = 5000;

interface Waiting {
  lines: string[];
  isLong: boolean;
  resolve: (lines: string[]) => void;
  reject: (error: Error) => void;
}

export class StoreClient implements Disposable {
  readonly #host: string;
  readonly #port: number;
  readonly #waiting: Waiting[] = [];
  #socket: net.Socket | undefined;

  constructor(address: string) {
    const colon = address.lastIndexOf(':');
    this.#host = address.slice(0, colon);
    this.#port = Number(address.slice(colon + 1));
  }

  async vote(shortcode: string): Promise<number> {
    const [line] = await this.#ask(`VOTE ${shortcode}\n`, false);
    if (!line?.startsWith('OK ')) throw new Error(`vote for ${shortcode}: store answered ${JSON.stringify(line)}`);
    return Number(line.slice(3));
  }

  async top(): Promise<{ shortcode: string; votes: number }[]> {
    const lines = await this.#ask('TOP\n', true);
    return lines.map((line) => {
      const [shortcode = '', count = '0'] = line.split(' ');
      return { shortcode, votes: Number(count) };
    });
  }

  [Symbol.dispose](): void {
    this.#socket?.end();
  }

  #ask(request: string, isLong: boolean): Promise<string[]> {
    return new Promise((resolve, reject) => {
      const socket = this.#connected();
      const timer = setTimeout(() => socket.destroy(new Error('no answer from store')), ANSWER_TIMEOUT_MS);
      const settled =
        <T>(settle: (value: T) => void) =>
        (value: T) => {
          clearTimeout(timer);
          settle(value);
        };
      this.#waiting.push({ lines: [], isLong, resolve: settled(resolve), reject: settled(reject) });
      socket.write(request);
    });
  }

  #connected(): net.Socket {
    if (this.#socket && !this.#socket.destroyed && this.#socket.writable) return this.#socket;
    const socket = net.connect({ host: this.#host, port: this.#port, noDelay: true });
    this.#socket = socket;
    let rest = '';
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) this.#take(line);
    });
    const fail = (error: Error) => {
      if (this.#socket === socket) this.#socket = undefined;
      for (const waiting of this.#waiting.splice(0)) waiting.reject(error);
    };
    socket.on('error', fail);
    socket.on('close', () => fail(new Error(`connection to store ${this.#host}:${this.#port} closed`)));
    return socket;
  }

  #take(line: string): void {
    const waiting = this.#waiting[0];
    if (!waiting) return;
    if (!waiting.isLong) waiting.lines.push(line);
    if (waiting.isLong && line !== '.') {
      waiting.lines.push(line);
      return;
    }
    this.#waiting.shift();
    waiting.resolve(waiting.lines);
  }
}
