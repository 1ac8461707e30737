/** Shows what the set-up is doing and how long each step took: a spinner on a terminal, one line a step otherwise. */

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const FRAME_MS = 80;
/** A step quicker than this is not worth a line on a second run. */
const SILENT_BELOW_MS = 300;

export class Progress {
  #out;
  #isQuiet;
  #timer;
  #current;

  constructor(out, { isQuiet = false } = {}) {
    this.#out = out;
    this.#isQuiet = isQuiet;
  }

  /** Runs one step; a rejected one is left on the display for `fail`. */
  async step(title, work) {
    const startedAt = Date.now();
    this.#current = { title, startedAt, detail: '' };
    this.#spin();
    const result = await work((detail) => {
      if (this.#current) this.#current.detail = detail;
    });
    const elapsedMs = Date.now() - startedAt;
    this.#clear();
    this.#current = undefined;
    if (!this.#isQuiet && elapsedMs >= SILENT_BELOW_MS) this.#line(this.#paint(32, '✓'), title, elapsedMs);
    return result;
  }

  fail() {
    const current = this.#current;
    this.#clear();
    if (current) this.#line(this.#paint(31, '✗'), current.title, Date.now() - current.startedAt);
  }

  end() {
    this.#clear();
  }

  #line(mark, title, elapsedMs) {
    this.#out.write(`${mark} ${title.padEnd(44)} ${(elapsedMs / 1000).toFixed(1).padStart(6)} s\n`);
  }

  #spin() {
    if (!this.#out.isTTY || this.#isQuiet) return;
    let frame = 0;
    this.#timer = setInterval(() => {
      const { title, startedAt, detail } = this.#current;
      const elapsed = `${((Date.now() - startedAt) / 1000).toFixed(0)} s`;
      const width = (this.#out.columns ?? 80) - 1;
      const text = `${title.padEnd(44)} ${elapsed.padStart(7)}  ${detail}`.slice(0, width - 2);
      this.#out.write(`\r\x1b[2K${this.#paint(36, FRAMES[frame++ % FRAMES.length])} ${text}`);
    }, FRAME_MS);
    this.#timer.unref();
  }

  #clear() {
    clearInterval(this.#timer);
    if (this.#out.isTTY && !this.#isQuiet) this.#out.write('\r\x1b[2K');
  }

  #paint(colour, text) {
    return this.#out.isTTY && !process.env.NO_COLOR ? `\x1b[${colour}m${text}\x1b[0m` : text;
  }
}
