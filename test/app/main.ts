/** The peers of the end-to-end tests in one program: `server` answers every protocol, `agent` calls what a test tells it to. */
import { startAgent } from './agent.ts';
import { startServers } from './servers.ts';

const roles = { agent: startAgent, server: startServers };
const role = process.argv[2] ?? '';
const start = roles[role as keyof typeof roles];
if (!start) {
  process.stderr.write(`start ${JSON.stringify(role)}: it is not one of ${Object.keys(roles).join(', ')}\n`);
  process.exit(64);
}
const running = await start(process.env);
process.stdout.write(`${role} started\n`);
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.once(signal, async () => {
    await running[Symbol.asyncDispose]();
    process.exit(0);
  });
}
