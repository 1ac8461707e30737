/** `tulle explain`: what happens to a request, and which field of which object says so. */
import type { Command } from 'commander';
import { withGlobalOptions } from '../globals.ts';

export function register(program: Command): void {
  withGlobalOptions(program.command('explain')).description('Show what happens to a request, and which object says so');
}
