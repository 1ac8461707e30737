/** Workload `vote-bot`: the traffic. It votes at WEB_ADDR, RATE votes a second (default 20), and looks at the page and the leaderboard now and then. */
import http from 'node:http';
import { catalogue } from './catalogue.ts';

/** Connections kept open to web; more requests than that wait. */
const CONNECTIONS_MAX = 8;
/** Every this many votes, the bot reads the page and the leaderboard as a visitor would. */
const VOTES_PER_VISIT = 10;

export async function startVoteBot(env: NodeJS.ProcessEnv): Promise<AsyncDisposable> {
  const base = `http://${env.WEB_ADDR ?? 'web:80'}`;
  const agent = new http.Agent({ keepAlive: true, maxSockets: CONNECTIONS_MAX });
  let count = 0;
  const timer = setInterval(
    () => {
      const choice = catalogue[count % catalogue.length]?.shortcode ?? '';
      get(agent, `${base}/api/vote?choice=${encodeURIComponent(choice)}`);
      if (count % VOTES_PER_VISIT === 0) get(agent, `${base}/`);
      if (count % VOTES_PER_VISIT === 5) get(agent, `${base}/api/leaderboard`);
      count += 1;
    },
    1000 / Number(env.RATE ?? 20),
  );
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      agent.destroy();
    },
  };
}

function get(agent: http.Agent, url: string): void {
  const request = http.get(url, { agent, timeout: 10_000 }, (response) => response.resume());
  request.on('timeout', () => request.destroy());
  // The proxy counts failures; the bot goes on.
  request.on('error', () => {});
}
