/** `tulle profile`: prints a ServiceProfile, from a template, an OpenAPI document or a protobuf file. Applies nothing. */
import { CONFIG_MAPS, type ConfigMap, type KubeObject, MeshError } from '@tulle/api';
import { parseServiceProfile } from '@tulle/api/service-profile.ts';
import { parseValues } from '@tulle/control-plane/injector/values-layers.ts';
import type { Command } from 'commander';
import { parse } from 'yaml';
import { type GlobalOptions, globalOptions, withClient, withGlobalOptions } from '../globals.ts';
import { readText } from '../install/install-values.ts';
import { outputFormat, printDocuments } from '../output/documents.ts';
import { openApiRoutes } from '../profile/open-api.ts';
import { type ProfileName, profileObject } from '../profile/profile-object.ts';
import { protobufRoutes } from '../profile/protobuf.ts';
import { templateText } from '../profile/template.ts';

interface ProfileOptions {
  template?: boolean;
  openApi?: string;
  proto?: string;
  tap?: string;
  ignoreCluster?: boolean;
  output?: string;
}

export function register(program: Command): void {
  const command = withGlobalOptions(program.command('profile'))
    .description('Print a ServiceProfile. Apply it with: tulle profile … | kubectl apply -f -')
    .argument('<service>', 'name of the Service that it is for')
    .option('--template', 'a profile to start from, with every field explained')
    .option('--open-api <file>', 'a route for each operation of an OpenAPI document; - for standard input')
    .option('--proto <file>', 'a route for each method of a protobuf file; - for standard input')
    .option('--tap <resource>', 'a route for each path that is asked for; comes with tap, which is not here yet')
    .option('--ignore-cluster', 'do not ask the control plane for the cluster’s domain')
    .option('-o, --output <format>', 'yaml or json')
    .action(async (service: string) => {
      process.stdout.write(await profile(service, globalOptions(command), command.opts()));
    });
}

async function profile(service: string, globals: GlobalOptions, options: ProfileOptions): Promise<string> {
  const format = outputFormat(options.output, ['yaml', 'json']);
  const { template, openApi, proto, tap } = options;
  if ([template, openApi, proto, tap].filter((choice) => choice !== undefined).length !== 1)
    throw new MeshError('INVALID_ARGUMENT', 'give one of --template, --open-api and --proto');
  if (!/^(?=.{1,63}$)[a-z]([-a-z0-9]*[a-z0-9])?$/.test(service))
    throw new MeshError(
      'INVALID_ARGUMENT',
      `"${service}": not the name of a Service: want up to 63 of a-z, 0-9 and -, a letter first`,
    );
  if (tap !== undefined)
    throw new MeshError(
      'UNIMPLEMENTED',
      `make routes of the requests to ${tap}: this version lacks tap, which would show them; give --template, --open-api or --proto instead`,
    );
  const name = await profileName(service, globals, options);
  if (template) return format === 'json' ? printDocuments([parse(templateText(name))], format) : templateText(name);
  const object =
    openApi === undefined
      ? profileObject(name, protobufRoutes(readText(proto!), proto!))
      : profileObject(name, openApiRoutes(readText(openApi), openApi));
  return printDocuments([checked(object)], format);
}

/** What is printed would be accepted. */
function checked(object: KubeObject): KubeObject {
  parseServiceProfile(object);
  return object;
}

async function profileName(service: string, globals: GlobalOptions, options: ProfileOptions): Promise<ProfileName> {
  const fallback = 'cluster.local';
  if (options.ignoreCluster) return { service, namespace: globals.namespace ?? 'default', clusterDomain: fallback };
  return withClient(globals, async (client) => {
    const namespace = globals.namespace ?? client.config.namespace;
    const config = await client
      .get<ConfigMap>(CONFIG_MAPS, 'linkerd-config', globals.linkerdNamespace)
      .catch((error) => {
        const { code, message, status } = MeshError.from(error);
        throw new MeshError(
          code,
          `ask for the cluster's domain: ${message} (with --ignore-cluster it is ${fallback})`,
          {
            cause: error,
            status,
          },
        );
      });
    return { service, namespace, clusterDomain: parseValues(config.data?.values ?? '').clusterDomain };
  });
}
