/** Fields of our own beside a message's: api/proto/tulle/overlay.proto. */
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  toBinary,
  type UnknownField,
} from '@bufbuild/protobuf';

/** `overlay` as fields that `message` does not know, to be written after its own: other proxies skip them. */
export function overlayFields<O extends DescMessage>(
  message: DescMessage,
  schema: O,
  overlay: MessageInitShape<O>,
): UnknownField[] {
  return fromBinary(message, toBinary(schema, create(schema, overlay))).$unknown ?? [];
}
