/** An error on standard error: one line with what was tried and on what, and where it helps a line with what to do. */
import { MeshError, type MeshErrorCode } from '@tulle/api';
import { colors } from './colors.ts';

const ADVICE: Partial<Record<MeshErrorCode, string>> = {
  UNAVAILABLE: 'is the cluster running? see `tulle cluster status`, or choose another with --kubeconfig or --context',
  UNAUTHENTICATED: 'the credentials of this kubeconfig are not accepted; choose another with --kubeconfig or --context',
};

/** Writes it and returns the exit code. */
export function reportError(thrown: unknown): number {
  const error = MeshError.from(thrown);
  process.stderr.write(`${colors.red('tulle:')} ${error.message}\n`);
  const advice = ADVICE[error.code];
  if (advice) process.stderr.write(`  ${advice}\n`);
  // What no code foresees is ours to find.
  if (!(thrown instanceof MeshError) && process.env.TULLE_DEBUG) process.stderr.write(`${(thrown as Error)?.stack}\n`);
  return 1;
}
