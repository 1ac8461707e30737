//! A gRPC codec that decodes each message twice: as the contract's type, and as our own overlay of it, which has only fields
//! numbered from 50000. Each skips what the other reads.

use prost::Message;
use std::marker::PhantomData;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

pub struct PairCodec<Q, M, O>(PhantomData<fn(Q) -> (M, O)>);

pub struct OneEncoder<Q>(PhantomData<fn(Q)>);
pub struct PairDecoder<M, O>(PhantomData<fn() -> (M, O)>);

impl<Q, M, O> Default for PairCodec<Q, M, O> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<Q, M, O> Codec for PairCodec<Q, M, O>
where
    Q: Message + Send + 'static,
    M: Message + Default + Send + 'static,
    O: Message + Default + Send + 'static,
{
    type Encode = Q;
    type Decode = (M, O);
    type Encoder = OneEncoder<Q>;
    type Decoder = PairDecoder<M, O>;

    fn encoder(&mut self) -> Self::Encoder {
        OneEncoder(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        PairDecoder(PhantomData)
    }
}

impl<Q: Message> Encoder for OneEncoder<Q> {
    type Item = Q;
    type Error = Status;

    fn encode(&mut self, message: Q, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(buffer).map_err(|e| Status::internal(format!("encode: {e}")))
    }
}

impl<M: Message + Default, O: Message + Default> Decoder for PairDecoder<M, O> {
    type Item = (M, O);
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<(M, O)>, Status> {
        let bytes = bytes::Buf::copy_to_bytes(buffer, bytes::Buf::remaining(buffer));
        decode_pair(bytes).map(Some).map_err(|e| Status::data_loss(format!("decode: {e}")))
    }
}

fn decode_pair<M: Message + Default, O: Message + Default>(bytes: bytes::Bytes) -> Result<(M, O), prost::DecodeError> {
    Ok((M::decode(bytes.clone())?, O::decode(bytes)?))
}
