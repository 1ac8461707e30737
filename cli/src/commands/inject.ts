/** `tulle inject`: adds to manifests the annotation that asks for a proxy or, with `--manual`, the proxy itself. */
import { CONFIG_MAPS, type ConfigMap, MeshError } from '@tulle/api';
import { defaultValues, type Values, VERSION } from '@tulle/control-plane/injector/values.ts';
import { parseValues } from '@tulle/control-plane/injector/values-layers.ts';
import type { Command } from 'commander';
import { type GlobalOptions, globalOptions, withClient, withGlobalOptions } from '../globals.ts';
import { readText } from '../install/install-values.ts';
import { outputFormat } from '../output/documents.ts';
import { injectReport } from '../output/inject-report.ts';
import { printManifest, readManifest } from '../workload/documents.ts';
import { injectObject } from '../workload/inject-manifest.ts';
import { objectsIn } from '../workload/workload.ts';

const CONFIG = 'config.linkerd.io/';

/** Flag, the annotation that it writes, what it says in the help. Without `<…>` the annotation is "true". */
const FLAGS: readonly (readonly [flag: string, annotation: string, what: string])[] = [
  ['--proxy-image <name>', `${CONFIG}proxy-image`, "the proxy's image"],
  ['--proxy-version <tag>', `${CONFIG}proxy-version`, "tag of the proxy's image"],
  ['--image-pull-policy <policy>', `${CONFIG}image-pull-policy`, 'Always, IfNotPresent or Never'],
  ['--native-sidecar', `${CONFIG}proxy-enable-native-sidecar`, 'run the proxy as a native sidecar'],
  ['--opaque-ports <ports>', `${CONFIG}opaque-ports`, 'ports whose traffic is not looked into'],
  ['--skip-inbound-ports <ports>', `${CONFIG}skip-inbound-ports`, 'ports whose inbound traffic bypasses the proxy'],
  ['--skip-outbound-ports <ports>', `${CONFIG}skip-outbound-ports`, 'ports whose outbound traffic bypasses the proxy'],
  ['--skip-subnets <cidrs>', `${CONFIG}skip-subnets`, 'sources whose traffic bypasses the proxy'],
  ['--enable-debug-sidecar', `${CONFIG}enable-debug-sidecar`, 'add a container for debugging'],
  ['--close-wait-timeout <duration>', `${CONFIG}close-wait-timeout`, 'timeout of connections in CLOSE_WAIT'],
  ['--default-inbound-policy <policy>', `${CONFIG}default-inbound-policy`, 'who may connect where no policy says'],
  ['--proxy-cpu-request <cpu>', `${CONFIG}proxy-cpu-request`, 'CPU that the proxy is given'],
  ['--proxy-cpu-limit <cpu>', `${CONFIG}proxy-cpu-limit`, 'CPU that the proxy may use'],
  ['--proxy-memory-request <bytes>', `${CONFIG}proxy-memory-request`, 'memory that the proxy is given'],
  ['--proxy-memory-limit <bytes>', `${CONFIG}proxy-memory-limit`, 'memory that the proxy may use'],
  ['--proxy-uid <uid>', `${CONFIG}proxy-uid`, 'user that the proxy runs as'],
  ['--proxy-gid <gid>', `${CONFIG}proxy-gid`, 'group that the proxy runs as'],
  ['--proxy-log-level <filter>', `${CONFIG}proxy-log-level`, "the proxy's log filter"],
  ['--admin-port <port>', `${CONFIG}admin-port`, 'port of probes and metrics'],
  ['--control-port <port>', `${CONFIG}control-port`, 'port of tap'],
  ['--inbound-port <port>', `${CONFIG}inbound-port`, 'port for traffic into the pod'],
  ['--outbound-port <port>', `${CONFIG}outbound-port`, 'port for traffic out of the pod'],
  [
    '--require-identity-on-inbound-ports <ports>',
    `${CONFIG}proxy-require-identity-inbound-ports`,
    'ports for meshed clients only',
  ],
  [
    '--wait-before-exit-seconds <seconds>',
    'config.alpha.linkerd.io/proxy-wait-before-exit-seconds',
    'how long a proxy that is no native sidecar outlives SIGTERM',
  ],
  ['--enable-external-profiles', `${CONFIG}enable-external-profiles`, 'look up names outside the cluster too'],
  ['--access-log <format>', `${CONFIG}access-log`, 'apache or json'],
  ['--shutdown-grace-period <duration>', `${CONFIG}shutdown-grace-period`, 'how long open connections are waited for'],
];

interface InjectOptions {
  manual?: boolean;
  ingress?: boolean;
  ignoreCluster?: boolean;
  identityTrustAnchorsFile?: string;
  registry?: string;
  output?: string;
}

export function register(program: Command): void {
  const command = withGlobalOptions(program.command('inject'))
    .argument('<manifest...>', 'files, URLs, or - for standard input')
    .description('Add the proxy to workloads in manifests. Apply them with: tulle inject FILE | kubectl apply -f -')
    .option('--manual', 'write the proxy itself, instead of the annotation that makes the webhook add it')
    .option('--ingress', 'for ingress controllers: route by Host or l5d-dst-override')
    .option('--ignore-cluster', 'with --manual: default values, not those of the control plane')
    .option('--identity-trust-anchors-file <file>', 'with --ignore-cluster: PEM file with the trust anchors')
    .option('--registry <name>', "registry of the proxy's image")
    .option('-o, --output <format>', 'yaml or json');
  for (const [flag, , what] of FLAGS) command.option(flag, what);
  command.action(async (sources: string[]) => {
    await inject(sources, globalOptions(command), command.opts());
  });
}

async function inject(sources: string[], globals: GlobalOptions, options: InjectOptions): Promise<void> {
  const format = outputFormat(options.output, ['yaml', 'json']);
  const settings = {
    values: options.manual ? await valuesForManual(globals, options) : defaultValues(),
    controlPlaneNamespace: globals.linkerdNamespace,
    createdBy: `linkerd/cli ${VERSION}`,
    isManual: Boolean(options.manual),
    annotations: annotationsFrom(options),
  };
  const documents = (await Promise.all(sources.map(readManifest))).flat();
  const reports = documents.flatMap((document) => objectsIn(document).map((object) => injectObject(object, settings)));
  process.stdout.write(printManifest(documents, format));
  process.stderr.write(injectReport(reports, globals.verbose));
}

async function valuesForManual(globals: GlobalOptions, options: InjectOptions): Promise<Values> {
  if (options.ignoreCluster) {
    const { identityTrustAnchorsFile: file } = options;
    if (!file)
      throw new MeshError('INVALID_ARGUMENT', '--manual with --ignore-cluster needs --identity-trust-anchors-file');
    return { ...defaultValues(), identityTrustAnchorsPEM: readText(file) };
  }
  const namespace = globals.linkerdNamespace;
  return withClient(globals, async (client) => {
    try {
      const config = await client.get<ConfigMap>(CONFIG_MAPS, 'linkerd-config', namespace);
      return parseValues(config.data?.values ?? '');
    } catch (error) {
      const { code, message } = MeshError.from(error);
      throw new MeshError(code, `read the values of the control plane in namespace ${namespace}: ${message}`, {
        cause: error,
      });
    }
  });
}

function annotationsFrom(options: object): Record<string, string> {
  const { ingress, registry } = options as InjectOptions;
  const annotations: Record<string, string> = { 'linkerd.io/inject': ingress ? 'ingress' : 'enabled' };
  for (const [flag, annotation] of FLAGS) {
    const key = flag
      .split(' ')[0]!
      .slice(2)
      .replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
    const value = (options as Record<string, unknown>)[key];
    if (value !== undefined) annotations[annotation] = String(value);
  }
  if (registry) {
    const image = annotations[`${CONFIG}proxy-image`] ?? defaultValues().proxy.image.name;
    annotations[`${CONFIG}proxy-image`] = `${registry.replace(/\/$/, '')}/${image.split('/').at(-1)}`;
  }
  return annotations;
}
