use super::*;

#[test]
fn texts_are_read_as_java_reads_them() {
    let track = Track::parse(b"count=1,bytes=2=;byteHardLimit=3;countHardLimit=-1").unwrap();
    let values = (
        track.count(),
        track.bytes(),
        track.bytes_hard_limit(),
        track.count_hard_limit(),
    );
    assert_eq!(values, (1, 2, 3, -1));
    assert_eq!(Track::parse(b""), Some(Track::default()));
    assert!(Track::parse(b"bytes=7,other=3,,").is_some());
    for bad in [
        "count=",
        "hello",
        ",count=1",
        "count= 1",
        "count=x",
        "count=1,;bytes=2",
    ] {
        assert_eq!(Track::parse(bad.as_bytes()), None, "{bad}");
    }
}

#[test]
fn an_odd_sign_stands_before_further_keys() {
    let text = "count=1,bytes=2=;byteHardLimit=3;countHardLimit=4";
    assert_eq!(Track::parse(text.as_bytes()).unwrap().text(), text);
    assert_eq!(Track::parse(b"count=5").unwrap().text(), "count=5,bytes=-1");
}
