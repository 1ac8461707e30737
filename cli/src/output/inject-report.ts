/** What was injected and what not, for standard error: warnings first, then a line per object. */
import type { ObjectReport } from '../workload/inject-manifest.ts';
import { SYMBOLS } from './symbols.ts';

export function injectReport(reports: readonly ObjectReport[], isVerbose: boolean): string {
  const lines: string[] = [];
  const names = (match: (report: ObjectReport) => boolean) =>
    reports.filter(match).map(({ kind, name }) => `${kind}/${name}`);
  const check = (found: string[], warning: (list: string) => string, ok: string) => {
    if (found.length) lines.push(`${SYMBOLS.warning} ${warning(found.join(', '))}`);
    else if (isVerbose) lines.push(`${SYMBOLS.success} ${ok}`);
  };
  check(
    names(({ reason }) => reason === 'host_network_enabled'),
    (list) => `"hostNetwork: true" detected in ${list}`,
    'pods do not use host networking',
  );
  check(
    names(({ reason }) => reason === 'sidecar_already_exists'),
    (list) => `known 3rd party sidecar detected in ${list}`,
    'pods do not have a 3rd party proxy or initContainer already injected',
  );
  check(
    names(({ reason }) => reason === 'injection_disable_annotation_present'),
    (list) => `"linkerd.io/inject: disabled" annotation set on ${list}`,
    'pods are not annotated to disable injection',
  );
  check(
    reports.some(({ action }) => action !== 'skipped') ? [] : ['none'],
    () => 'no supported objects found',
    'at least one resource can be injected or annotated',
  );
  const udp = names(({ hasUdpPorts }) => hasUdpPorts);
  check(
    udp,
    (list) => `${list} ${udp.length > 1 ? 'use' : 'uses'} "protocol: UDP"`,
    'pod specs do not include UDP ports',
  );
  if (isVerbose) {
    lines.push(
      `${SYMBOLS.success} pods do not have automountServiceAccountToken set to "false" or service account token projection is enabled`,
    );
  }
  const summary = summaryLines(reports);
  return `\n${lines.length ? `${lines.join('\n')}\n\n` : ''}${summary}\n`;
}

export function summaryLines(reports: readonly ObjectReport[]): string {
  return reports
    .map(({ kind, name, action }) =>
      kind ? `${kind} "${name}" ${action}\n` : 'document missing "kind" field, skipped\n',
    )
    .join('');
}
