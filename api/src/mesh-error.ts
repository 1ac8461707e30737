/**
 * The one error class of the TypeScript side. Codes are the names of the gRPC status codes
 * (https://grpc.io/docs/guides/status-codes), mapped to HTTP, gRPC or an exit code only at the edge.
 */

export type MeshErrorCode =
  | 'CANCELLED'
  | 'UNKNOWN'
  | 'INVALID_ARGUMENT'
  | 'DEADLINE_EXCEEDED'
  | 'NOT_FOUND'
  | 'ALREADY_EXISTS'
  | 'PERMISSION_DENIED'
  | 'RESOURCE_EXHAUSTED'
  | 'FAILED_PRECONDITION'
  | 'ABORTED'
  | 'OUT_OF_RANGE'
  | 'UNIMPLEMENTED'
  | 'INTERNAL'
  | 'UNAVAILABLE'
  | 'DATA_LOSS'
  | 'UNAUTHENTICATED';

export class MeshError extends Error {
  readonly code: MeshErrorCode;
  /** The Kubernetes `Status` object of the answer, where an API server sent one. */
  readonly status?: unknown;

  constructor(code: MeshErrorCode, message: string, options: { cause?: unknown; status?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'MeshError';
    this.code = code;
    if (options.status !== undefined) this.status = options.status;
  }

  /** Any thrown value as a MeshError; a foreign error keeps its message and becomes the cause. */
  static from(error: unknown, code: MeshErrorCode = 'UNKNOWN'): MeshError {
    if (error instanceof MeshError) return error;
    const message = error instanceof Error ? error.message : String(error);
    return new MeshError(code, message, { cause: error });
  }
}
