/** The inner process of a cluster: started by cluster.ts in namespaces of its own, configured over IPC. */
import { runInner } from './inner.ts';

if (process.argv[2] !== 'inner' || !process.send) {
  process.stderr.write('cluster: this program is started by `tulle cluster up`\n');
  process.exit(64);
}
await runInner();
