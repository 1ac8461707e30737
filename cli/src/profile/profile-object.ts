/** A ServiceProfile as it is printed. */
import type { KubeObject } from '@tulle/api';

export interface ProfileName {
  service: string;
  namespace: string;
  clusterDomain: string;
}

export interface PrintedRoute {
  name: string;
  condition: { method: string; pathRegex: string };
  responseClasses?: { condition: { status: { min: number; max: number } }; isFailure?: true }[];
  isRetryable?: true;
  timeout?: string;
}

export function profileObject({ service, namespace, clusterDomain }: ProfileName, routes: PrintedRoute[]): KubeObject {
  return {
    apiVersion: 'linkerd.io/v1alpha2',
    kind: 'ServiceProfile',
    metadata: { name: `${service}.${namespace}.svc.${clusterDomain}`, namespace },
    spec: { routes },
  };
}

/** The text as an expression that matches just it. */
export function quoteRegex(text: string): string {
  return text.replace(/[\\.+*?()|[\]{}^$]/g, '\\$&');
}
