/**
 * Workload `web`: the application's front on HTTP/1.1, HTTP_PORT (default 8080). `/` is the list, `/api/vote?choice=` votes,
 * `/api/leaderboard` the results, `/healthz` for probes. It asks emoji (EMOJI_ADDR) and voting (VOTING_ADDR) over gRPC.
 */
import http from 'node:http';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { EmojiService, VotingService } from '../../gen/emojivote_pb.ts';

/** Time from SIGTERM until the listener closes: the endpoints of a Service need that long to forget this pod. */
const CLOSE_DELAY_MS = 1000;
/** A call that takes longer fails the page. */
const CALL_TIMEOUT_MS = 5000;

interface Answer {
  status: number;
  type?: string;
  body: string;
}

export async function startWeb(env: NodeJS.ProcessEnv): Promise<AsyncDisposable> {
  const transport = (address: string) =>
    createGrpcTransport({ baseUrl: `http://${address}`, defaultTimeoutMs: CALL_TIMEOUT_MS });
  const emoji = createClient(EmojiService, transport(env.EMOJI_ADDR ?? 'emoji:8080'));
  const voting = createClient(VotingService, transport(env.VOTING_ADDR ?? 'voting:8080'));

  async function route(url: URL): Promise<Answer> {
    switch (url.pathname) {
      case '/healthz':
        return { status: 200, body: 'ok\n' };
      case '/': {
        const { emoji: all } = await emoji.list({});
        const items = all.map(
          (e) => `<li><a href="/api/vote?choice=${encodeURIComponent(e.shortcode)}">${e.unicode}</a></li>`,
        );
        return {
          status: 200,
          type: 'text/html; charset=utf-8',
          body: `<!doctype html><title>Vote</title><ul>${items.join('')}</ul>\n`,
        };
      }
      case '/api/list': {
        const { emoji: all } = await emoji.list({});
        return json(all.map(({ shortcode, unicode }) => ({ shortcode, unicode })));
      }
      case '/api/vote': {
        const choice = url.searchParams.get('choice') ?? '';
        const { emoji: found } = await emoji.find({ shortcode: choice });
        if (!found) return { status: 400, body: `no emoji is called ${JSON.stringify(choice)}\n` };
        const { votes } = await voting.vote({ shortcode: choice });
        return json({ shortcode: choice, votes: Number(votes) });
      }
      case '/api/leaderboard': {
        const { results } = await voting.results({});
        return json(results.map((r) => ({ shortcode: r.shortcode, votes: Number(r.votes) })));
      }
      default:
        return { status: 404, body: 'not found\n' };
    }
  }

  const server = http.createServer((request, response) => {
    route(new URL(request.url ?? '/', 'http://web'))
      .catch(
        (error: unknown) => ({ status: 500, body: `${error instanceof Error ? error.message : error}\n` }) as Answer,
      )
      .then(({ status, type, body }) => {
        response.writeHead(status, { 'content-type': type ?? 'text/plain; charset=utf-8' });
        response.end(body);
      });
  });
  await new Promise<void>((resolve, reject) =>
    server.once('error', reject).listen(Number(env.HTTP_PORT ?? 8080), '::', resolve),
  );
  return {
    async [Symbol.asyncDispose]() {
      await new Promise((resolve) => setTimeout(resolve, CLOSE_DELAY_MS));
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      await closed;
    },
  };
}

function json(value: unknown): Answer {
  return { status: 200, type: 'application/json', body: `${JSON.stringify(value)}\n` };
}
