/** The marks of a check's result. */
import { colors } from './colors.ts';

export const SYMBOLS = {
  success: colors.green('√'),
  warning: colors.yellow('‼'),
  error: colors.red('×'),
};
