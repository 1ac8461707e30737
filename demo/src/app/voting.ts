/** Workload `voting`: takes votes over gRPC on GRPC_PORT (default 8080) and keeps them in `store` at STORE_ADDR. */
import { Code, ConnectError } from '@connectrpc/connect';
import { VotingService } from '../../gen/emojivote_pb.ts';
import { FAILING_SHORTCODE } from './catalogue.ts';
import { serveGrpc } from './grpc-server.ts';
import { StoreClient } from './store-client.ts';

export async function startVoting(env: NodeJS.ProcessEnv): Promise<AsyncDisposable> {
  const store = new StoreClient(env.STORE_ADDR ?? 'store:7000');
  const server = await serveGrpc(Number(env.GRPC_PORT ?? 8080), (router) =>
    router.service(VotingService, {
      vote: async ({ shortcode }) => {
        if (shortcode === FAILING_SHORTCODE) throw new ConnectError('this emoji cannot be voted for', Code.Internal);
        return { votes: BigInt(await store.vote(shortcode)) };
      },
      results: async () => {
        const results = await store.top();
        return { results: results.map((r) => ({ shortcode: r.shortcode, votes: BigInt(r.votes) })) };
      },
    }),
  );
  return {
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      store[Symbol.dispose]();
    },
  };
}
