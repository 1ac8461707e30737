/** The sample application in one program: the first argument says which of its five workloads this process is. */
import { startEmoji } from './emoji.ts';
import { startStore } from './store.ts';
import { startVoteBot } from './vote-bot.ts';
import { startVoting } from './voting.ts';
import { startWeb } from './web.ts';

const workloads = {
  emoji: startEmoji,
  store: startStore,
  'vote-bot': startVoteBot,
  voting: startVoting,
  web: startWeb,
};

const name = process.argv[2] ?? '';
const start = workloads[name as keyof typeof workloads];
if (!start) {
  process.stderr.write(
    `start workload ${JSON.stringify(name)}: it is not one of ${Object.keys(workloads).join(', ')}\n`,
  );
  process.exit(64);
}
const running = await start(process.env);
process.stdout.write(`${name} started\n`);
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.once(signal, async () => {
    await running[Symbol.asyncDispose]();
    process.exit(0);
  });
}
