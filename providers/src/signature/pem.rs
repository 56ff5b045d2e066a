//! PEM as keys and certificates are pasted and served: blocks of base64 between labelled lines. In: text. Out: each block's
//! label and bytes, in order; what is no block is passed over. Reads no DER.

use crate::encoding::Encoding;

/// One block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// What it is, such as `CERTIFICATE`.
    pub label: String,
    /// Its bytes, decoded.
    pub der: Vec<u8>,
}

/// The blocks that can be read.
pub(crate) fn blocks(text: &[u8]) -> Vec<Block> {
    let Ok(text) = std::str::from_utf8(text) else {
        return Vec::new();
    };
    text.split("-----BEGIN ").skip(1).filter_map(block).collect()
}

fn block(text: &str) -> Option<Block> {
    let (label, rest) = text.split_once("-----")?;
    let (body, _) = rest.split_once("-----END ")?;
    let body: Vec<u8> = body.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    Some(Block {
        label: label.to_owned(),
        der: Encoding::Base64.decode(&body)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_read_in_order() {
        let text = b"hello\n-----BEGIN A-----\nAAEC\n-----END A-----\n-----BEGIN B-----\r\nAw==\r\n-----END B-----\n-----BEGIN C-----";
        let read = blocks(text);
        let read: Vec<_> = read
            .iter()
            .map(|block| (block.label.as_str(), block.der.as_slice()))
            .collect();
        assert_eq!(read, [("A", &[0, 1, 2][..]), ("B", &[3][..])]);
        assert!(blocks(b"").is_empty() && blocks(b"-----BEGIN A-----!-----END A-----").is_empty());
    }
}
