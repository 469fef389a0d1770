//! The GGUF reader: any bytes give a model or an error, and a prefix never says other than the whole file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use woolly_engine::bytes::Bytes;
use woolly_engine::gguf::{Error, Gguf, Header, Parsed, parse};

fuzz_target!(|data: &[u8]| {
    let whole = parse(data);
    for quarter in 0..4 {
        check_prefix(&data[..data.len() * quarter / 4], &whole);
    }
    match Gguf::open(vec![Bytes::new(data.to_vec())]) {
        Ok(gguf) => check_open(&gguf, whole),
        Err(Error::Truncated { .. }) => assert!(matches!(whole, Ok(Parsed::NeedMore { .. }))),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    // As two parts: mostly refused, but never with a panic.
    let (first, second) = data.split_at(data.len() / 2);
    let _ = Gguf::open(vec![Bytes::new(first.to_vec()), Bytes::new(second.to_vec())]);
});

fn check_prefix(prefix: &[u8], whole: &Result<Parsed, Error>) {
    match (parse(prefix), whole) {
        (Ok(Parsed::NeedMore { total }), _) => assert!(total > prefix.len()),
        (Ok(Parsed::Ready(a)), Ok(Parsed::Ready(b))) => assert!(same(&a, b)),
        (Err(Error::NotGguf { .. }), Err(Error::NotGguf { .. })) => {} // shows the bytes that are there
        (Err(a), Err(b)) => assert_eq!(&a, b),
        (prefix, whole) => panic!("a prefix gives {prefix:?}, the whole {whole:?}"),
    }
}

/// Whether two headers agree. Not `==`, for which a NaN differs from itself.
fn same(a: &Header, b: &Header) -> bool {
    a.tensors == b.tensors
        && a.data_offset == b.data_offset
        && format!("{:?}", a.metadata) == format!("{:?}", b.metadata)
}

fn check_open(gguf: &Gguf, whole: Result<Parsed, Error>) {
    let Ok(Parsed::Ready(header)) = whole else { panic!("opened what does not parse: {whole:?}") };
    assert_eq!(header.metadata.len(), gguf.metadata().len());
    for (key, _) in gguf.metadata().iter() {
        assert!(gguf.metadata().get(key).is_some());
    }
    for tensor in gguf.tensors() {
        let (found, data) = gguf.tensor(&tensor.name).expect("a listed tensor");
        assert_eq!((found, data.len() as u64), (tensor, tensor.bytes()));
    }
}
