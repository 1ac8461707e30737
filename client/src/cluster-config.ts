/** Where an API server is and who we are there: what a kubeconfig or a pod's service account comes to. */

export interface ClusterConfig {
  /** `https://host:port`, with a path where the server is behind one. */
  server: string;
  caPem?: string;
  /** Asked before every request, so that a rotated token is used at once. */
  token?: () => Promise<string>;
  clientCertPem?: string;
  clientKeyPem?: string;
  /** The namespace of requests that name none. */
  namespace: string;
  /** Connect to this Unix socket; `server` then only names the host. */
  socketPath?: string;
  /** Name to verify in the server's certificate instead of the host of `server`. */
  tlsServerName?: string;
  insecureSkipTlsVerify?: boolean;
  /** Impersonate this user, with these groups. */
  asUser?: string;
  asGroups?: string[];
}
