/** A ServiceProfile to start from: every field once, with what it is for. */
import type { ProfileName } from './profile-object.ts';

export function templateText({ service, namespace, clusterDomain }: ProfileName): string {
  return `### ServiceProfile for ${service}.${namespace} ###
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata:
  name: ${service}.${namespace}.svc.${clusterDomain}
  namespace: ${namespace}
spec:
  # Requests are of the first route that fits. Those of no route have no limits
  # and no retries, and count without a route.
  routes:
    # The route's name in metrics.
    - name: /authors/{id}
      # method and pathRegex fit when both do; the expression matches the whole
      # path. There are also all, any and not, which hold conditions in turn.
      condition:
        method: POST
        pathRegex: /authors/\\d+
      # Optional: requests that fail are sent again, within the budget below: for
      # what may be done twice.
      # isRetryable: true
      # Optional: a request is given up after this time, its retries included.
      # timeout: 300ms
      # Optional: which responses are failures, for success rates and retries.
      # The first class that fits counts; without one it is those from 500 on.
      responseClasses:
        - condition:
            status:
              min: 500
              max: 599
          isFailure: true
    - name: /books/{id}
      condition:
        any:
          - method: GET
            pathRegex: /books/\\d+
          - all:
              - method: HEAD
              - pathRegex: /books/\\d+
  # Optional: how many requests may be retries; this is what holds without it.
  retryBudget:
    # As a part of the requests that are none.
    retryRatio: 0.2
    # So many are always allowed.
    minRetriesPerSecond: 10
    # How long a request counts.
    ttl: 10s
`;
}
