/** What a ServiceProfile must be: refused in Linkerd's words, in which people look for help, and with the fields at fault. */
import { type KubeObject, MeshError } from '@tulle/api';
import { parseServiceProfile } from '@tulle/api/service-profile.ts';
import { serviceProfileProblem, unknownProfileFields } from '@tulle/api/service-profile-validation.ts';
import type { Verdict } from './rules.ts';

export function checkProfile(object: KubeObject): Verdict {
  const name = object.metadata?.name ?? '';
  const words = serviceProfileProblem(object);
  if (words === undefined) return { warnings: nameWarnings(name) };
  const fields = [...nameProblems(name), ...unknownProfileFields(object), ...valueProblems(object)];
  const told = fields.filter((text) => !words.includes(text)).join('; ');
  return { refusal: told ? `${words}: ${told}` : words, warnings: [] };
}

const NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

function nameProblems(name: string): string[] {
  if (NAME.test(name)) return [];
  return [`metadata.name: found "${name}", allowed is the DNS name of a Service, such as web.app.svc.cluster.local`];
}

function valueProblems(object: KubeObject): string[] {
  try {
    parseServiceProfile(object);
    return [];
  } catch (cause) {
    return [MeshError.from(cause).message];
  }
}

/** A profile is found by this name alone, or by a name outside the cluster. */
function nameWarnings(name: string): string[] {
  if (name.split('.').length >= 3) return [];
  return [`no Service is called ${name}: a profile's name is that of a Service such as web.app.svc.cluster.local`];
}
