/** Colours, where standard output is a terminal that has them and NO_COLOR does not forbid them. */
import picocolors from 'picocolors';

export const colors = picocolors.createColors(
  Boolean(process.stdout.isTTY) && !process.env.NO_COLOR && process.env.TERM !== 'dumb',
);
