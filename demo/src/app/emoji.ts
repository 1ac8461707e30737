/** Workload `emoji`: knows the emoji. gRPC on GRPC_PORT (default 8080). */
import { EmojiService } from '../../gen/emojivote_pb.ts';
import { catalogue } from './catalogue.ts';
import { serveGrpc } from './grpc-server.ts';

export function startEmoji(env: NodeJS.ProcessEnv): Promise<AsyncDisposable> {
  return serveGrpc(Number(env.GRPC_PORT ?? 8080), (router) =>
    router.service(EmojiService, {
      list: () => ({ emoji: catalogue }),
      find: ({ shortcode }) => {
        const emoji = catalogue.find((e) => e.shortcode === shortcode);
        return emoji ? { emoji } : {};
      },
      async *stream() {
        yield* catalogue;
      },
    }),
  );
}
