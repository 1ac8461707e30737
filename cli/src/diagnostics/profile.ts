/** `diagnostics profile`: the first answer of Destination.GetProfile, as JSON. */
import { Destination, DestinationProfileSchema } from '@tulle/api/gen/destination_pb.ts';
import { type GlobalOptions, withClient } from '../globals.ts';
import { firstOf, readableJson, withControlPlane } from '../mesh/control-plane-rpc.ts';
import { type AskOptions, DESTINATION_PORT } from './endpoints.ts';

export async function printProfile(path: string, globals: GlobalOptions, options: AskOptions): Promise<void> {
  const target = {
    controlPlaneNamespace: globals.linkerdNamespace,
    ...(options.destinationPod ? { pod: options.destinationPod } : {}),
    port: DESTINATION_PORT,
  };
  const profile = await withClient(globals, (client) =>
    withControlPlane(client, Destination, target, (rpc, signal) =>
      firstOf(rpc.getProfile({ scheme: '', path, contextToken: options.token ?? '' }, { signal })),
    ),
  );
  process.stdout.write(`${JSON.stringify(readableJson(DestinationProfileSchema, profile), null, 2)}\n`);
}
