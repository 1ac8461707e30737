/** What the outer process tells the inner one, and what that answers, over Node's IPC channel. */

export interface InnerConfig {
  stateDir: string;
  /** The API server listens here for the host. */
  socketPath: string;
  nodes: number;
  /** From 0; clusters that are linked have different ones, and so different ranges of pods. */
  number: number;
  imagesFile: string;
  podRuntime: string;
}

export interface ReadyMessage {
  type: 'ready';
  /** Of the API server's certificate. */
  caPem: string;
  /** A client certificate of group system:masters. */
  adminCertPem: string;
  adminKeyPem: string;
}

export type InnerMessage = ReadyMessage | { type: 'failed'; message: string };
