/** Pods as the agent runs them. Started by pods.test.ts in namespaces of its own. */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { after, describe, test } from 'node:test';
import { CONFIG_MAPS, CORE_EVENTS, type KubeObject, PODS, SECRETS } from '@tulle/api';
import { isOver, isReady, js, sh, startNodeFixture } from './testing/node-fixture.ts';

const node = await startNodeFixture();
const { client, run, until, logs } = node;
const HAS_UIDS = !/^\s*0\s+\d+\s+1$/m.test(readFileSync('/proc/self/uid_map', 'utf8'));
after(() => node[Symbol.asyncDispose]());

const statusOf = (pod: KubeObject, name = 'main') =>
  [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])].find((c) => c.name === name);
const eventsOf = (name: string) => client.all(CORE_EVENTS).filter(({ involvedObject }) => involvedObject.name === name);
/** Commands of all processes that this one can see. */
const processes = () =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      } catch {
        return '';
      }
    });

describe('pods', { concurrency: true }, () => {
  test('starts init containers, then sidecars, then the rest, and ends sidecars last', async () => {
    const note = (text: string) => `echo ${text} >> /shared/order`;
    const volumeMounts = [{ name: 'shared', mountPath: '/shared' }];
    const stay = (name: string) =>
      `trap "${note(`${name} ends`)}; exit 0" TERM; ${note(`${name} starts`)}; sleep 1000 & wait`;
    const more = (name: string) => ({ name, volumeMounts });
    run('order', {
      restartPolicy: 'OnFailure',
      initContainers: [
        sh(note('init'), more('init')),
        sh(stay('first'), {
          ...more('first'),
          restartPolicy: 'Always',
          startupProbe: { exec: { command: ['/bin/sh', '-c', 'grep first /shared/order'] } },
        }),
        sh(stay('second'), {
          ...more('second'),
          restartPolicy: 'Always',
          startupProbe: { exec: { command: ['/bin/sh', '-c', 'grep second /shared/order'] } },
        }),
      ],
      containers: [
        sh(
          `${note('main')}; while ! grep -q later /shared/order; do sleep 0.01; done; cat /shared/order`,
          more('main'),
        ),
        sh(note('later'), more('later')),
      ],
      volumes: [{ name: 'shared', emptyDir: {} }],
    });
    const pod = await until('order', isOver);
    assert.equal(pod.status.phase, 'Succeeded');
    assert.equal(await logs('order'), 'init\nfirst starts\nsecond starts\nmain\nlater\n');
    const finished = ['second', 'first'].map((name) => statusOf(pod, name)?.state.terminated.exitCode);
    assert.deepEqual(finished, [0, 0]);
  });

  test('gives a container its variables, volumes, identity and a closed root', async () => {
    client.put(CONFIG_MAPS, { metadata: { name: 'config' }, data: { file: 'from map', KEY: 'value' } });
    client.put(SECRETS, { metadata: { name: 'secret' }, data: { s: Buffer.from('from secret').toString('base64') } });
    const script = [
      'cat /etc/config/file /etc/secret/s /var/run/token/audience /labels/app',
      'echo; echo $WHO; id -u; id -G; hostname; pwd',
      'touch /usr/x /etc/x /x 2>/dev/null || echo closed; echo y > /data/y && cat /data/y',
      'grep -E "NoNewPrivs|CapBnd" /proc/self/status; cat /proc/sys/kernel/ostype',
      '(echo 1 > /proc/sys/net/ipv4/ip_forward) 2>/dev/null || echo locked',
      'echo message > /dev/termination-log; exit 7',
    ];
    const mount = (name: string, mountPath: string, more = {}) => ({ name, mountPath, ...more });
    run('view', {
      restartPolicy: 'Never',
      securityContext: { runAsUser: 1000, runAsGroup: 1001, fsGroup: 1002 },
      containers: [
        sh(script.join('\n'), {
          workingDir: '/data',
          env: [
            { name: 'KEY', valueFrom: { configMapKeyRef: { name: 'config', key: 'KEY' } } },
            { name: 'WHO', value: '$(KEY)!' },
          ],
          securityContext: {
            readOnlyRootFilesystem: true,
            allowPrivilegeEscalation: false,
            capabilities: { drop: ['ALL'] },
          },
          volumeMounts: [
            mount('config', '/etc/config/file', { subPath: 'file' }),
            mount('secret', '/etc/secret'),
            mount('token', '/var/run/token'),
            mount('labels', '/labels'),
            mount('data', '/data'),
          ],
        }),
      ],
      volumes: [
        { name: 'config', configMap: { name: 'config' } },
        { name: 'secret', secret: { secretName: 'secret' } },
        {
          name: 'token',
          projected: {
            sources: [
              { serviceAccountToken: { path: 'audience', audience: 'identity.l5d.io', expirationSeconds: 3600 } },
            ],
          },
        },
        { name: 'labels', downwardAPI: { items: [{ path: 'app', fieldRef: { fieldPath: 'metadata.name' } }] } },
        { name: 'data', emptyDir: { medium: 'Memory' } },
      ],
    });
    const pod = await until('view', isOver);
    const [first, ...rest] = (await logs('view')).trim().split('\n');
    assert.match(first ?? '', /^from mapfrom secrettoken-\d+view$/);
    const ids = HAS_UIDS ? ['1000', '1001 1002'] : ['0', rest[2]];
    const closed = ['CapBnd:\t0000000000000000', 'NoNewPrivs:\t1'];
    assert.deepEqual(rest.slice(0, 7), ['value!', ...ids, 'view', '/data', 'closed', 'y']);
    assert.deepEqual(rest.slice(7, 9).sort(), closed);
    assert.deepEqual(rest.slice(9), ['Linux', 'locked']);
    const { exitCode, message } = statusOf(pod).state.terminated;
    assert.deepEqual([pod.status.phase, exitCode, message], ['Failed', 7, 'message\n']);
    const request = client.tokenRequests.find((body) => body.spec.boundObjectRef.name === 'view');
    assert.deepEqual(request?.spec.audiences, ['identity.l5d.io']);
  });

  test('carries a changed ConfigMap into its volume', async () => {
    client.put(CONFIG_MAPS, { metadata: { name: 'live' }, data: { a: 'old', b: 'old' } });
    run('follow', {
      restartPolicy: 'Never',
      containers: [
        sh('echo up; while ! grep -q new /m/a; do sleep 0.02; done; cat /m/b; ls /m', {
          volumeMounts: [{ name: 'm', mountPath: '/m' }],
        }),
      ],
      volumes: [{ name: 'm', configMap: { name: 'live' } }],
    });
    await until('follow', isReady);
    client.put(CONFIG_MAPS, { metadata: { name: 'live' }, data: { a: 'new', b: 'new', c: '' } });
    await until('follow', isOver);
    assert.equal(await logs('follow'), 'up\nnewa\nb\nc\n');
  });

  test('restarts what fails, at first at once and then with a back-off', async () => {
    run('crash', { containers: [sh('echo run; exit 3')] });
    const pod = await until('crash', (p) => statusOf(p)?.state.waiting?.reason === 'CrashLoopBackOff');
    assert.deepEqual([statusOf(pod).restartCount, statusOf(pod).lastState.terminated.exitCode], [1, 3]);
    assert.equal(pod.status.phase, 'Running');
    assert.equal(await logs('crash', '?previous=true'), 'run\n');
  });

  test('says what is wrong with an image, a command or a reference', async () => {
    run('image', { containers: [{ name: 'main', image: 'nginx:1' }] });
    run('command', { restartPolicy: 'Never', containers: [{ name: 'main', image: 'sh', command: ['nosuch'] }] });
    run('reference', {
      containers: [sh('', { env: [{ name: 'X', valueFrom: { secretKeyRef: { name: 'gone', key: 'k' } } }] })],
    });
    run('mount', { containers: [sh('')], volumes: [{ name: 'v', configMap: { name: 'gone' } }] });
    const waiting = (reason: string) => (p: KubeObject) => statusOf(p)?.state.waiting?.reason === reason;
    const image = await until('image', waiting('ErrImagePull'));
    assert.match(
      statusOf(image).state.waiting.message,
      /"nginx:1" is not in this machine's image table, which has: node, sh/,
    );
    const { reason, exitCode, message } = statusOf(await until('command', isOver)).state.terminated;
    assert.deepEqual([reason, exitCode], ['StartError', 128]);
    assert.match(message, /"nosuch": executable file not found/);
    const reference = await until('reference', waiting('CreateContainerConfigError'));
    assert.equal(statusOf(reference).state.waiting.message, 'secret "gone" not found');
    await client
      .until(CORE_EVENTS, eventsOf('mount')[0] ? `default/${eventsOf('mount')[0]?.metadata.name}` : '', () => true)
      .catch(() => {});
    assert.match(
      eventsOf('mount')[0]?.message ?? '',
      /MountVolume.SetUp failed for volume "v": configmap "gone" not found/,
    );
  });

  test('goes on when what was missing comes', async () => {
    run('late', {
      restartPolicy: 'Never',
      containers: [sh('cat /m/k', { volumeMounts: [{ name: 'm', mountPath: '/m' }] })],
      volumes: [{ name: 'm', configMap: { name: 'late' } }],
    });
    await until('late', (p) => p.status?.phase === 'Pending');
    client.put(CONFIG_MAPS, { metadata: { name: 'late' }, data: { k: 'here' } });
    await until('late', isOver);
    assert.equal(await logs('late'), 'here');
  });

  test('restarts a container whose liveness probe fails', async () => {
    const livenessProbe = {
      exec: { command: ['/bin/sh', '-c', 'echo sick; exit 1'] },
      periodSeconds: 1,
      failureThreshold: 1,
    };
    run('live', { containers: [sh('trap "exit 0" TERM; sleep 1000 & wait', { livenessProbe })] });
    const pod = await until('live', (p) => statusOf(p)?.restartCount === 1);
    assert.equal(statusOf(pod).lastState.terminated.exitCode, 0);
    assert.ok(eventsOf('live').some(({ message }) => message === 'Liveness probe failed: sick'));
    assert.ok(
      eventsOf('live').some(({ message }) => message === 'Container main failed liveness probe, will be restarted'),
    );
  });

  test('ends a pod in order and leaves nothing of it', async () => {
    const marker = 'sleep 4242';
    run('leave', {
      containers: [
        sh(`trap "echo term; exit 0" TERM; touch /tmp/up; ${marker} & wait`, {
          // Not ready before the trap is set: until then a first process does not notice SIGTERM.
          readinessProbe: { exec: { command: ['/usr/bin/test', '-f', '/tmp/up'] } },
          lifecycle: { preStop: { exec: { command: ['/bin/sh', '-c', 'echo hook > /proc/1/fd/1'] } } },
        }),
      ],
    });
    await until('leave', isReady);
    const following = logs('leave', '?follow=true');
    await client.delete(PODS, 'leave', 'default');
    while (client.all(PODS).some(({ metadata }) => metadata.name === 'leave')) await new Promise(setImmediate);
    assert.equal(await following, 'hook\nterm\n');
    assert.ok(!processes().some((command) => command.includes('4242')));
  });

  test('kills what does not end within its grace', async () => {
    run('stubborn', { containers: [sh('trap "" TERM; while :; do sleep 1000; done')] });
    await until('stubborn', isReady);
    await client.delete(PODS, 'stubborn', 'default', { gracePeriodSeconds: 1 });
    const pod = await until('stubborn', (p) => statusOf(p)?.state.terminated);
    const { exitCode, signal } = statusOf(pod).state.terminated;
    assert.deepEqual([exitCode, signal], [137, 9]);
  });

  test('ends a pod at its active deadline', async () => {
    run('deadline', {
      activeDeadlineSeconds: 1,
      restartPolicy: 'Never',
      containers: [sh('exec sleep 1000')],
      terminationGracePeriodSeconds: 0,
    });
    const pod = await until('deadline', isOver);
    assert.deepEqual([pod.status.phase, pod.status.reason], ['Failed', 'DeadlineExceeded']);
  });

  test('holds back the next container until the postStart hook has ended', async () => {
    const volumeMounts = [{ name: 's', mountPath: '/s' }];
    const postStart = {
      exec: { command: ['/bin/sh', '-c', 'while ! test -f /s/go; do sleep 0.02; done; echo hook >> /s/order'] },
    };
    run('hook', {
      restartPolicy: 'Never',
      containers: [
        sh('touch /s/go; while ! test -f /s/done; do sleep 0.02; done; cat /s/order', {
          volumeMounts,
          lifecycle: { postStart },
        }),
        sh('echo second >> /s/order; touch /s/done', { name: 'second', volumeMounts }),
      ],
      volumes: [{ name: 's', emptyDir: {} }],
    });
    await until('hook', isOver);
    assert.equal(await logs('hook'), 'hook\nsecond\n');
  });

  test('runs programs of the image table below system folders', async () => {
    run('program', { restartPolicy: 'Never', containers: [js('console.log(process.pid, process.execPath)')] });
    await until('program', isOver);
    assert.equal(await logs('program'), '1 /usr/lib/tulle-test/node\n');
  });
});

test('takes its pods up again after a restart, with what was running restarted', async () => {
  run('again', { containers: [sh('trap "exit 0" TERM; sleep 1000 & wait')] });
  await until('again', isReady);
  await node.restart();
  const pod = await until('again', (p) => isReady(p) && statusOf(p)?.restartCount === 1);
  assert.equal(statusOf(pod).lastState.terminated.reason, 'ContainerStatusUnknown');
});
