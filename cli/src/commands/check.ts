/** `tulle check`: whether cluster, control plane and proxies are as they should be. Exit code 1 when something is not. */
import { MeshError } from '@tulle/api';
import { durationMs } from '@tulle/control-plane/injector/annotation-values.ts';
import type { Command } from 'commander';
import { type Category, runChecks } from '../checks/check.ts';
import { CheckContext } from '../checks/context.ts';
import { linkerdConfig, linkerdExistence, linkerdHaChecks } from '../checks/control-plane.ts';
import { gatewayApiCrd, linkerdCrd, tullePolicy } from '../checks/definitions.ts';
import { identityDataPlane, linkerdIdentity, webhooksTls } from '../checks/identity.ts';
import { kubernetesApi, kubernetesVersion, preKubernetesSetup } from '../checks/kubernetes.ts';
import { controlPlaneProxy, controlPlaneVersion, dataPlane } from '../checks/proxies.ts';
import { connect, type GlobalOptions, globalOptions, withGlobalOptions } from '../globals.ts';
import { checkJson, statusLine, tableObserver } from '../output/check-report.ts';
import { outputFormat } from '../output/documents.ts';

interface CheckOptions {
  pre?: boolean;
  crds?: boolean;
  proxy?: boolean;
  wait: string;
  expectedVersion?: string;
  cliVersionOverride?: string;
  output?: string;
}

export function register(program: Command): void {
  const command = withGlobalOptions(program.command('check'))
    .description('Check the cluster, the control plane and the proxies')
    .option('--pre', 'before an installation: whether it can be made')
    .option('--crds', 'only whether the custom resource definitions are installed')
    .option('--proxy', 'check the data plane too')
    .option('--linkerd-cni-enabled', 'accepted for compatibility: there is no CNI plugin')
    .option('--wait <duration>', 'how long to wait for what may still become ready', '5m')
    .option('--expected-version <version>', 'the version that should run')
    .option('--cli-version-override <version>', 'take this for the version of the command line')
    .option('-o, --output <format>', 'table, short or json')
    .action(() => check(globalOptions(command), command.opts()));
}

async function check(globals: GlobalOptions, options: CheckOptions): Promise<void> {
  const format = outputFormat(options.output, ['table', 'short', 'json']);
  const waitMs = parseWait(options.wait);
  const context = new CheckContext(
    {
      controlPlaneNamespace: globals.linkerdNamespace,
      ...(globals.namespace ? { dataPlaneNamespace: globals.namespace } : {}),
      ...(options.expectedVersion ? { expectedVersion: options.expectedVersion } : {}),
      ...(options.cliVersionOverride ? { cliVersion: options.cliVersionOverride } : {}),
    },
    () => connect(globals),
  );
  const write = (text: string) => void process.stdout.write(text);
  const isTerminal = Boolean(process.stdout.isTTY);
  const observer = format === 'json' ? {} : tableObserver(write, format === 'short', isTerminal);
  try {
    const results = await runChecks(categoriesFor(options), context, Date.now() + waitMs, observer);
    write(format === 'json' ? checkJson(results) : statusLine(results));
    if (results.some(({ checks }) => checks.some(({ result }) => result === 'error'))) process.exitCode = 1;
  } finally {
    await context.close();
  }
}

/** In the order in which they build on each other. */
function categoriesFor({ pre, crds, proxy }: CheckOptions): Category[] {
  const base = [kubernetesApi, kubernetesVersion, gatewayApiCrd({ mayBeAbsent: pre === true })];
  if (pre) return [...base, preKubernetesSetup];
  if (crds) return [...base, linkerdCrd];
  const installed = [...base, linkerdExistence, linkerdConfig, linkerdIdentity, webhooksTls];
  const last = [linkerdHaChecks, tullePolicy];
  if (proxy) return [...installed, identityDataPlane, controlPlaneProxy, dataPlane, ...last];
  return [...installed, controlPlaneVersion, controlPlaneProxy, ...last];
}

function parseWait(text: string): number {
  try {
    return durationMs(text);
  } catch (error) {
    throw new MeshError('INVALID_ARGUMENT', `--wait ${text}: ${MeshError.from(error).message}`);
  }
}
