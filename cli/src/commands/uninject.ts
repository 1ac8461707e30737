/** `tulle uninject`: takes the proxy, and what asks for it, out of manifests. */
import type { Command } from 'commander';
import { withGlobalOptions } from '../globals.ts';
import { outputFormat } from '../output/documents.ts';
import { summaryLines } from '../output/inject-report.ts';
import { printManifest, readManifest } from '../workload/documents.ts';
import { uninjectObject } from '../workload/uninject-manifest.ts';
import { objectsIn } from '../workload/workload.ts';

export function register(program: Command): void {
  const command = withGlobalOptions(program.command('uninject'))
    .argument('<manifest...>', 'files, URLs, or - for standard input')
    .description('Take the proxy out of workloads in manifests')
    .option('-o, --output <format>', 'yaml or json')
    .action(async (sources: string[]) => {
      const format = outputFormat(command.opts().output, ['yaml', 'json']);
      const documents = (await Promise.all(sources.map(readManifest))).flat();
      const reports = documents.flatMap((document) => objectsIn(document).map(uninjectObject));
      process.stdout.write(printManifest(documents, format));
      process.stderr.write(`\n${summaryLines(reports)}\n`);
    });
}
