//! A configuration file's bytes; their syntax is [`roo_proto::properties`].

pub use roo_proto::properties::Property;

/// Reads a file's bytes, which are ISO-8859-1; UTF-8 is taken as such where it is valid.
///
/// # Errors
/// A bad `\u` escape: its line and what is expected.
pub fn parse(bytes: &[u8]) -> Result<Vec<Property>, (usize, &'static str)> {
    match std::str::from_utf8(bytes) {
        Ok(text) => roo_proto::properties::parse(text),
        Err(_) => {
            let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
            roo_proto::properties::parse(&text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bytes_that_are_no_utf8_are_latin() {
        let found = parse(b"a=\xe9").unwrap();
        assert_eq!(found[0].value, "\u{e9}");
        assert_eq!(parse("a=\u{e9}".as_bytes()).unwrap(), found);
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
