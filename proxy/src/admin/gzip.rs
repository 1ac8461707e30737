//! Gzip of a whole body, for scrapers: metrics shrink to a tenth.

use miniz_oxide::deflate::{CompressionLevel, compress_to_vec};

/// RFC 1952: magic, deflate, no flags, no time, fastest, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = HEADER.to_vec();
    out.extend(compress_to_vec(bytes, CompressionLevel::BestSpeed as u8));
    out.extend(crc32(bytes).to_le_bytes());
    // The length counts modulo 2^32.
    out.extend((bytes.len() as u32).to_le_bytes());
    out
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ (crc >> 8))
}

const TABLE: [u32; 256] = {
    let mut table = [0u32; 256];
    let mut n = 0;
    while n < 256 {
        let mut crc = n as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
            bit += 1;
        }
        table[n] = crc;
        n += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpacks_to_what_was_packed() {
        let text = "request_total{direction=\"inbound\"} 1\n".repeat(500);
        let packed = gzip(text.as_bytes());
        let (head, tail) = (&packed[..10], &packed[packed.len() - 8..]);
        assert_eq!(head, HEADER);
        assert!(packed.len() < text.len() / 10);
        let unpacked = miniz_oxide::inflate::decompress_to_vec(&packed[10..packed.len() - 8]).expect("valid");
        assert_eq!(unpacked, text.as_bytes());
        assert_eq!(tail[4..], (text.len() as u32).to_le_bytes());
    }

    #[test]
    fn the_checksum_is_the_standard_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
