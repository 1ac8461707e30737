/** What each component takes of the configuration; the command line's explanations take the same. */
import type { Config } from './config.ts';
import { splitAddress } from './listen.ts';
import type { InboundSettings } from './policy/inbound/inbound-server.ts';
import type { MeshSettings } from './workloads/endpoint.ts';

export function meshSettings(config: Config): MeshSettings {
  const { controllerNamespace, clusterDomain, trustDomain, defaultOpaquePorts } = config;
  const { isH2UpgradeEnabled, outboundTransportMode, isIpv6Enabled } = config;
  return {
    controllerNamespace,
    clusterDomain,
    trustDomain,
    defaultOpaquePorts,
    isH2UpgradeEnabled,
    outboundTransportMode,
    isIpv6Enabled,
  };
}

export function inboundSettings(config: Config): InboundSettings {
  return {
    defaultPolicy: config.defaultInboundPolicy,
    clusterNetworks: config.clusterNetworks,
    probeNetworks: config.probeNetworks,
    controlPlanePorts: controlPlanePorts(config),
  };
}

function controlPlanePorts(config: Config) {
  const port = (address: string) => splitAddress(address)!.port;
  return {
    identity: port(config.identityAddress),
    destination: port(config.destinationAddress),
    policy: port(config.policyAddress),
    webhooks: [config.injectorAddress, config.policyValidatorAddress, config.spValidatorAddress].map(port),
  };
}
