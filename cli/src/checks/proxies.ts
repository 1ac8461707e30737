/** control-plane-version, linkerd-control-plane-proxy and linkerd-data-plane: which versions run, and whether proxies are well set up. */
import { NAMESPACES, type Pod, type Service } from '@tulle/api';
import { parsePortRanges, portsWithin, resolvePortNames } from '@tulle/control-plane/injector/ports.ts';
import { type Category, type Check, Skip } from './check.ts';
import { type CheckContext, fail, failIfAny } from './context.ts';
import { isWanted, notReady } from './control-plane.ts';
import { exists } from './kubernetes.ts';

const OPAQUE_PORTS = 'config.linkerd.io/opaque-ports';
/** Written as a label, an annotation of ours has no effect; and the other way round. */
const ANNOTATION_KEYS = /^(config\.(alpha\.|beta\.)?linkerd\.io\/(?!admission-webhooks$)|linkerd\.io\/inject$)/;
const LABEL_KEYS = ['mirror.linkerd.io/exported', 'mirror.linkerd.io/federated'];

export const controlPlaneVersion: Category = {
  name: 'control-plane-version',
  checks: [
    {
      description: 'can retrieve the control plane version',
      anchor: 'l5d-version-control',
      isFatal: true,
      isRetried: true,
      run: async (context) => void (await serverVersion(context)),
    },
    {
      description: 'control plane is up-to-date',
      anchor: 'l5d-version-control',
      isWarning: true,
      async run(context) {
        const [server, expected] = [
          await serverVersion(context),
          context.settings.expectedVersion ?? context.cliVersion,
        ];
        if (server !== expected) fail(`is running version ${server} but the latest version is ${expected}`);
      },
    },
    {
      description: 'control plane and cli versions match',
      anchor: 'l5d-version-control',
      isWarning: true,
      async run(context) {
        const server = await serverVersion(context);
        if (server !== context.cliVersion)
          fail(`control plane running ${server} but cli running ${context.cliVersion}`);
      },
    },
  ],
};

export const controlPlaneProxy: Category = {
  name: 'linkerd-control-plane-proxy',
  checks: [
    {
      description: 'control plane proxies are healthy',
      anchor: 'l5d-cp-proxy-healthy',
      isFatal: true,
      isRetried: true,
      async run(context) {
        failIfAny(
          (await context.controlPlanePods()).filter(isWanted).flatMap(proxyNotReady),
          'some proxies are not ready:',
        );
      },
    },
    upToDate('control plane proxies are up-to-date', 'l5d-cp-proxy-version', (context) => context.controlPlanePods()),
    matchesCli('control plane proxies and cli versions match', 'l5d-cp-proxy-cli-version', (context) =>
      context.controlPlanePods(),
    ),
  ],
};

export const dataPlane: Category = {
  name: 'linkerd-data-plane',
  checks: [
    {
      description: 'data plane namespace exists',
      anchor: 'l5d-data-plane-exists',
      isFatal: true,
      async run(context) {
        const name = context.settings.dataPlaneNamespace;
        if (!name) throw new Skip();
        if (!(await exists(context.get(NAMESPACES, name)))) fail(`The "${name}" namespace does not exist`);
      },
    },
    {
      description: 'data plane proxies are ready',
      anchor: 'l5d-data-plane-ready',
      isFatal: true,
      isRetried: true,
      async run(context) {
        const pods = (await context.dataPlanePods()).filter(isWanted);
        if (!pods.length) fail(`no "linkerd-proxy" containers found${inNamespace(context)}`);
        failIfAny(pods.flatMap(proxyNotReady), 'some proxies are not ready:');
      },
    },
    upToDate('data plane is up-to-date', 'l5d-data-plane-version', (context) => context.dataPlanePods()),
    matchesCli('data plane and cli versions match', 'l5d-data-plane-cli-version', (context) => context.dataPlanePods()),
    misplaced('data plane pod labels are configured correctly', 'l5d-data-plane-pod-labels', 'pods', 'labels'),
    misplaced(
      'data plane service labels are configured correctly',
      'l5d-data-plane-services-labels',
      'services',
      'labels',
    ),
    misplaced(
      'data plane service annotations are configured correctly',
      'l5d-data-plane-services-annotations',
      'services',
      'annotations',
    ),
    {
      description: 'opaque ports are properly annotated',
      anchor: 'linkerd-opaque-ports-definition',
      isWarning: true,
      async run(context) {
        const [pods, services] = [await context.dataPlanePods(), await context.services()];
        failIfAny(
          services.flatMap((service) => opaqueMismatches(service, pods)),
          'opaque ports of services and pods differ:',
        );
      },
    },
  ],
};

async function serverVersion(context: CheckContext): Promise<string> {
  return (await context.values()).linkerdVersion || fail('the control plane does not say its version');
}

const inNamespace = ({ settings }: CheckContext) =>
  settings.dataPlaneNamespace ? ` in the "${settings.dataPlaneNamespace}" namespace` : '';

const nameOf = ({ metadata }: { metadata: { name: string; namespace?: string } }) =>
  `${metadata.namespace}/${metadata.name}`;

function proxyNotReady(pod: Pod): string[] {
  const { initContainerStatuses = [], containerStatuses = [] } = pod.status ?? {};
  const proxy = [...initContainerStatuses, ...containerStatuses].find(({ name }) => name === 'linkerd-proxy');
  if (proxy?.ready) return [];
  return proxy ? [`container "linkerd-proxy" in pod "${pod.metadata.name}" is not ready`] : notReady(pod);
}

const versionOf = ({ metadata }: Pod) => metadata.annotations?.['linkerd.io/proxy-version'] ?? '';

function upToDate(description: string, anchor: string, pods: (context: CheckContext) => Promise<Pod[]>): Check {
  return {
    description,
    anchor,
    isWarning: true,
    async run(context) {
      const values = await context.values();
      const expected = context.settings.expectedVersion ?? (values.proxy.image.version || values.linkerdVersion);
      const old = (await pods(context)).filter((pod) => isWanted(pod) && versionOf(pod) !== expected);
      failIfAny(
        old.map((pod) => `${nameOf(pod)} (${versionOf(pod)})`),
        `some proxies are not running the current version ${expected}:`,
      );
    },
  };
}

function matchesCli(description: string, anchor: string, pods: (context: CheckContext) => Promise<Pod[]>): Check {
  return {
    description,
    anchor,
    isWarning: true,
    async run(context) {
      const odd = (await pods(context)).find((pod) => isWanted(pod) && versionOf(pod) !== context.cliVersion);
      if (odd) fail(`${nameOf(odd)} running ${versionOf(odd)} but cli running ${context.cliVersion}`);
    },
  };
}

function misplaced(
  description: string,
  anchor: string,
  on: 'pods' | 'services',
  where: 'labels' | 'annotations',
): Check {
  return {
    description,
    anchor,
    isWarning: true,
    async run(context) {
      const objects: (Pod | Service)[] = on === 'pods' ? await context.dataPlanePods() : await context.services();
      const isWrong = (key: string) => (where === 'labels' ? ANNOTATION_KEYS.test(key) : LABEL_KEYS.includes(key));
      const found = objects.flatMap((object) => {
        const keys = Object.keys(object.metadata[where] ?? {}).filter(isWrong);
        return keys.length ? [`* ${nameOf(object)}\n${keys.map((key) => `\t${key}`).join('\n')}`] : [];
      });
      const should = where === 'labels' ? 'annotations' : 'labels';
      if (found.length) fail(`Some ${where} on data plane ${on} should be ${should}:\n${found.join('\n')}`);
    },
  };
}

/** A port that only one side says is opaque is taken for HTTP on the other. */
function opaqueMismatches(service: Service, pods: readonly Pod[]): string[] {
  const { selector, ports = [] } = service.spec ?? {};
  if (!selector || !Object.keys(selector).length) return [];
  const onService = service.metadata.annotations?.[OPAQUE_PORTS];
  const problems = new Set<string>();
  for (const pod of pods) {
    if (pod.metadata.namespace !== service.metadata.namespace) continue;
    if (!Object.entries(selector).every(([key, value]) => pod.metadata.labels?.[key] === value)) continue;
    const onPod = pod.metadata.annotations?.[OPAQUE_PORTS];
    if (onService === undefined && onPod === undefined) continue;
    const named = new Map(
      (pod.spec?.containers ?? []).flatMap((c) => (c.ports ?? []).map((p) => [p.name ?? '', p.containerPort] as const)),
    );
    const isOpaque = (annotation: string | undefined, port: number) =>
      annotation !== undefined && portsWithin([port], parsePortRanges(resolvePortNames(annotation, named))).length > 0;
    for (const { port, targetPort } of ports) {
      const target = typeof targetPort === 'string' ? named.get(targetPort) : (targetPort ?? port);
      if (target === undefined) continue;
      if (isOpaque(onService, port) && !isOpaque(onPod, target)) {
        problems.add(
          `service ${service.metadata.name} has opaque port ${port} but pod ${pod.metadata.name} has not its target ${target}`,
        );
      } else if (isOpaque(onPod, target) && !isOpaque(onService, port)) {
        problems.add(
          `pod ${pod.metadata.name} has opaque port ${target} but service ${service.metadata.name} has not port ${port}`,
        );
      }
    }
  }
  return [...problems];
}
