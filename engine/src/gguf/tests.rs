//! The reader against files made by [`Writer`], whole, cut, damaged and absurd.

use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};

use proptest::prelude::*;

use super::*;
use crate::bytes::Bytes;
use crate::quant::TensorType;

fn open(file: Vec<u8>) -> Result<Gguf, Error> {
    Gguf::open(vec![Bytes::new(file)])
}

fn header(file: &[u8]) -> Result<Header, Error> {
    match parse(file)? {
        Parsed::Ready(header) => Ok(header),
        Parsed::NeedMore { total } => panic!("{} bytes were not enough, {total} wanted", file.len()),
    }
}

fn message<T: core::fmt::Debug>(result: Result<T, Error>) -> String {
    result.unwrap_err().to_string()
}

/// A file with every value type, nested arrays and two tensors.
fn sample() -> Writer {
    Writer::new()
        .string("general.architecture", "llama")
        .value("u8", 200u8)
        .value("i8", -100i8)
        .value("u16", 60_000u16)
        .value("i16", -30_000i16)
        .u32("u32", 4_000_000_000)
        .value("i32", -2_000_000_000)
        .f32("f32", 1.5)
        .bool("bool", true)
        .value("u64", u64::MAX)
        .value("i64", i64::MIN)
        .value("f64", 0.1f64)
        .strings("strings", [&b"a"[..], b"", b"\xff\xfe"])
        .f32s("f32s", [0.5, -0.5])
        .i32s("i32s", [1, -2, 3])
        .value("bools", vec![true, false])
        .value("nested", vec![Array::from(vec![1u8, 2]), Array::from(vec![Array::from(vec![0.25f64])])])
        .value("empty", Vec::<Array>::new())
        .tensor("a.weight", &[32, 2], TensorType::Q4_0, [1; 36])
        .tensor("b.bias", &[3], TensorType::F32, [2; 12])
}

/// A file with these tensors' descriptions, whose offsets are given; there are `data` bytes behind them.
fn described(tensors: &[(&str, &[u64], u32, u64)], data: usize) -> Vec<u8> {
    let mut file = b"GGUF\x03\0\0\0".to_vec();
    file.extend((tensors.len() as u64).to_le_bytes());
    file.extend(0u64.to_le_bytes());
    for (name, dims, kind, offset) in tensors {
        value::write_string(name.as_bytes(), &mut file);
        file.extend((dims.len() as u32).to_le_bytes());
        dims.iter().for_each(|length| file.extend(length.to_le_bytes()));
        file.extend(kind.to_le_bytes());
        file.extend(offset.to_le_bytes());
    }
    file.resize(file.len().next_multiple_of(32) + data, 0);
    file
}

/// A file with one entry, `key`, whose type and value are `bytes`.
fn with_value(bytes: &[u8]) -> Vec<u8> {
    let mut file = b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0key".to_vec();
    file.extend(bytes);
    file
}

/// Bytes of a type or dimension count, then of a count.
fn words(small: &[u32], large: u64) -> Vec<u8> {
    small.iter().flat_map(|n| n.to_le_bytes()).chain(large.to_le_bytes()).collect()
}

#[test]
fn typed_access_reads_every_type() {
    let gguf = open(sample().finish()).unwrap();
    let m = gguf.metadata();
    assert_eq!(m.string("general.architecture"), Ok(Some("llama")));
    assert_eq!([m.u32("u8"), m.u32("u16"), m.u32("u32")], [Ok(Some(200)), Ok(Some(60_000)), Ok(Some(4_000_000_000))]);
    assert_eq!([m.i64("i8"), m.i64("i16"), m.i64("i64")], [Ok(Some(-100)), Ok(Some(-30_000)), Ok(Some(i64::MIN))]);
    assert_eq!([m.u64("u64"), m.u64("absent")], [Ok(Some(u64::MAX)), Ok(None)]);
    assert_eq!([m.f32("f32"), m.f32("f64")], [Ok(Some(1.5)), Ok(Some(0.1))]);
    assert_eq!(m.bool("bool"), Ok(Some(true)));
    assert_eq!(m.f32s("f32s"), Ok(Some(Cow::Borrowed(&[0.5, -0.5][..]))));
    assert_eq!(m.i32s("i32s").unwrap().unwrap(), [1, -2, 3].as_slice());
    assert_eq!(m.bools("bools"), Ok(Some(&[true, false][..])));
    assert_eq!(m.array("nested").unwrap().unwrap().len(), 2);
    assert_eq!(m.iter().map(|(key, _)| key).nth(1), Some("u8"));
    let strings = m.require_strings("strings").unwrap();
    assert_eq!(strings.iter().collect::<Vec<_>>(), [&b"a"[..], b"", b"\xff\xfe"]);
    assert_eq!([strings.get(2), strings.get(3)], [Some(&b"\xff\xfe"[..]), None]);
}

#[test]
fn typed_access_says_what_is_wrong() {
    let gguf = open(sample().finish()).unwrap();
    let m = gguf.metadata();
    assert_eq!(message(m.u32("i32")), "metadata key \"i32\" holds i32 -2000000000, expected an integer that fits u32");
    assert_eq!(
        message(m.strings("f32s")),
        "metadata key \"f32s\" holds an array of 2 x f32, expected an array of strings"
    );
    assert_eq!(
        message(m.u32s("i32s")),
        "metadata key \"i32s\" holds an array of 3 x i32, expected an array of integers that fit u32"
    );
    assert_eq!(message(m.f32("u8")), "metadata key \"u8\" holds u8 200, expected a floating-point number");
    assert_eq!(message(m.string("bool")), "metadata key \"bool\" holds bool true, expected a string");
    assert_eq!(m.require_u32("absent"), Err(Error::MissingKey("absent".into())));
}

#[test]
fn tensors_are_views_of_the_file() {
    let gguf = open(sample().finish()).unwrap();
    let (tensor, data) = gguf.tensor("b.bias").unwrap();
    assert_eq!(
        (tensor.dims.as_slice(), tensor.kind, tensor.elements(), tensor.bytes()),
        (&[3][..], TensorType::F32, 3, 12)
    );
    assert_eq!(data[..], [2; 12]);
    assert_eq!(tensor.offset, 64);
    assert_eq!(gguf.tensor("a.weight").unwrap().1[..], [1; 36]);
    assert!(gguf.tensor("absent").is_none());
    assert_eq!(gguf.tensors().map(|tensor| tensor.name.as_str()).collect::<Vec<_>>(), ["a.weight", "b.bias"]);
    assert_eq!(gguf.size(), sample().finish().len() as u64);
}

#[test]
fn versions_and_byte_order() {
    let with_version = |version: [u8; 4]| {
        let mut file = sample().finish();
        file[4..8].copy_from_slice(&version);
        open(file)
    };
    assert_eq!(with_version([2, 0, 0, 0]).unwrap().version(), 2);
    assert_eq!(with_version([3, 0, 0, 0]).unwrap().version(), 3);
    for version in [0, 1, 4, 255] {
        assert_eq!(with_version([version, 0, 0, 0]).unwrap_err(), Error::Version(version.into()));
    }
    assert_eq!(with_version([0, 0, 0, 3]).unwrap_err(), Error::BigEndian { version: 3 });
    assert_eq!(
        message(open(b"PK\x03\x04".to_vec())),
        "not a GGUF file: it starts with \"PK\\x03\\x04\", expected \"GGUF\""
    );
    assert_eq!(
        message(open(b"GG".to_vec())),
        "the file ends early: the start of the header needs 4 bytes at offset 0, 2 are there"
    );
}

#[test]
fn alignment_is_followed_and_checked() {
    for alignment in [1u32, 8, 64, 4096] {
        let writer = sample().u32(ALIGNMENT_KEY, alignment);
        let gguf = open(writer.finish()).unwrap();
        assert_eq!(gguf.tensor("b.bias").unwrap().1[..], [2; 12]);
        assert_eq!(gguf.tensor("b.bias").unwrap().0.offset, 36u64.next_multiple_of(alignment.into()));
    }
    for alignment in [0u32, 3, 48, 1 << 25] {
        let file = sample().u32(ALIGNMENT_KEY, alignment).finish();
        assert_eq!(open(file).unwrap_err(), Error::Alignment(alignment.into()));
    }
    let negative = sample().value(ALIGNMENT_KEY, -32i32).finish();
    assert!(matches!(open(negative), Err(Error::WrongType { .. })));
}

#[test]
fn a_file_cut_anywhere_needs_more() {
    let file = sample().finish();
    let header_len = file.len() - 64 - 12;
    for len in 0..file.len() {
        let cut = &file[..len];
        match parse(cut) {
            Ok(Parsed::NeedMore { total }) => assert!(total > len && len < header_len),
            Ok(Parsed::Ready(header)) => assert_eq!((header.tensors.len(), len + 32 > header_len), (2, true)),
            Err(error) => panic!("cut to {len} bytes: {error}"),
        }
        match open(cut.to_vec()) {
            Err(Error::Truncated { offset, needed, present, .. }) => {
                assert!(offset + present == len as u64 && needed > present);
            }
            Err(Error::OutsideFile { end, size, .. }) => assert!(end > size && size == len as u64),
            other => panic!("cut to {len} bytes: {other:?}"),
        }
    }
}

#[test]
fn any_header_byte_may_be_damaged() {
    let file = sample().finish();
    for at in 0..file.len() {
        for flip in [0x01, 0x02, 0x10, 0x80, 0xff] {
            let mut damaged = file.clone();
            damaged[at] ^= flip;
            if let Ok(gguf) = open(damaged) {
                gguf.tensors()
                    .for_each(|tensor| assert_eq!(gguf.tensor(&tensor.name).unwrap().1.len() as u64, tensor.bytes()));
            }
        }
    }
}

#[test]
fn absurd_counts_are_refused_at_once() {
    for count in [1 << 28, 1 << 40, 1 << 60, u64::MAX] {
        for at in [8, 16] {
            let mut file = sample().finish();
            file[at..at + 8].copy_from_slice(&count.to_le_bytes());
            assert!(
                matches!(parse(&file), Err(Error::TooLarge { offset, count: c, .. }) if (offset, c) == (at as u64, count))
            );
        }
        for element in [8, 9, 10] {
            let file = with_value(&words(&[9, element], count));
            assert!(matches!(parse(&file), Err(Error::TooLarge { offset: 43, count: c, .. }) if c == count));
        }
    }
    let long_string = with_value(&words(&[8], 1 << 31));
    let expected = "the value of metadata key \"key\": the count 2147483648 at offset 39 takes the header past 1073741824 bytes, the most it may have";
    assert_eq!(message(parse(&long_string)), expected);
}

#[test]
fn plausible_counts_ask_for_as_much_as_they_imply() {
    let total_for = |bytes: &[u8]| match parse(&with_value(bytes)).unwrap() {
        Parsed::NeedMore { total } => total,
        Parsed::Ready(header) => panic!("{header:?}"),
    };
    assert_eq!(total_for(&words(&[9, 10], 1 << 20)), 51 + (8 << 20));
    assert_eq!(total_for(&words(&[9, 8], 1 << 20)), 51 + (8 << 20));
    assert_eq!(total_for(&words(&[9, 9], 1 << 20)), 51 + (12 << 20));
    assert_eq!(total_for(&words(&[8], 1 << 20)), 47 + (1 << 20));
    assert_eq!(total_for(&[]), 64 << 10);
}

#[test]
fn reading_on_takes_few_calls() {
    let tokens = (0..20_000).map(|i| format!("token {i}"));
    let file = Writer::new().strings("a", tokens.clone()).strings("b", tokens).u32("c", 7).finish();
    let (mut len, mut calls) = (0, 1);
    let header = loop {
        match parse(&file[..len]).unwrap() {
            Parsed::Ready(header) => break header,
            Parsed::NeedMore { total } => len = total.min(file.len()),
        }
        calls += 1;
    };
    assert!(calls <= 6, "{calls} calls for {} bytes", file.len());
    assert_eq!(header.metadata.require_strings("b").unwrap().get(19_999), Some(&b"token 19999"[..]));
}

#[test]
fn bad_metadata_is_refused() {
    let place = || String::from("the value of metadata key \"key\"");
    assert_eq!(parse(&with_value(&[13, 0, 0, 0])), Err(Error::ValueType { place: place(), offset: 35, id: 13 }));
    assert_eq!(parse(&with_value(&words(&[9, 77], 0))), Err(Error::ValueType { place: place(), offset: 39, id: 77 }));
    assert_eq!(parse(&with_value(&[7, 0, 0, 0, 2])), Err(Error::Bool { place: place(), offset: 39, found: 2 }));
    let bools = [words(&[9, 7], 3), vec![0, 1, 9]].concat();
    assert_eq!(parse(&with_value(&bools)), Err(Error::Bool { place: place(), offset: 53, found: 9 }));
    let text = [words(&[8], 3), b"ab\xff".to_vec()].concat();
    assert_eq!(parse(&with_value(&text)), Err(Error::Utf8 { place: place(), offset: 49 }));

    let mut key = Writer::new().u32("key", 1).finish();
    key[33] = 0xc3;
    assert_eq!(parse(&key), Err(Error::Utf8 { place: "metadata key 0".into(), offset: 33 }));
    assert_eq!(parse(&Writer::new().u32("a", 1).u32("", 1).finish()), Err(Error::EmptyKey { index: 1 }));
    let twice = Writer::new().u32("b", 1).u32("a", 1).u32("b", 1).finish();
    assert_eq!(parse(&twice), Err(Error::DuplicateKey("b".into())));
}

#[test]
fn arrays_nest_four_deep() {
    let nested = |depth| (1..depth).fold(Array::from(vec![1u8]), |inner, _| Array::from(vec![inner]));
    let four = Writer::new().value("key", nested(4)).finish();
    assert_eq!(header(&four).unwrap().metadata.array("key").unwrap(), Some(&nested(4)));
    let five = Writer::new().value("key", nested(5)).finish();
    assert!(matches!(parse(&five), Err(Error::TooDeep { offset: 75, limit: 4, .. })));
    let endless = [words(&[9, 9], 1), words(&[9], 1).repeat(50_000)].concat();
    assert!(matches!(parse(&with_value(&endless)), Err(Error::TooDeep { .. })));
}

#[test]
fn bad_descriptions_of_tensors_are_refused() {
    let refused = |name: &str, dims: &[u64], kind, offset| message(open(described(&[(name, dims, kind, offset)], 64)));
    assert_eq!(refused("t", &[], 0, 0), "tensor \"t\" has 0 dimensions, expected 1 to 4");
    assert_eq!(refused("t", &[1; 5], 0, 0), "tensor \"t\" has 5 dimensions, expected 1 to 4");
    assert_eq!(refused("t", &[4, 0], 0, 0), "tensor \"t\" has dimension 1 of length 0");
    assert_eq!(refused("t", &[48], 2, 0), "tensor \"t\" has rows of 48 elements, expected a multiple of 32 for Q4_0");
    assert_eq!(
        refused("t", &[4], 0, 8),
        "tensor \"t\" starts at 8 of the data section, expected a multiple of the alignment 32"
    );
    assert!(refused("t", &[4], 99, 0).starts_with("tensor \"t\" has the type 99 (unknown), which is not supported"));
    let known = refused("blk.0.ffn_up.weight", &[256], 16, 0);
    assert!(known.contains("the type 16 (IQ2_XXS)") && known.ends_with("supported: F32, F16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS, BF16, MXFP4"), "{known}");
    for dims in [&[1 << 32, 1 << 32][..], &[1 << 62, 4], &[1 << 61, 1], &[u64::MAX]] {
        assert_eq!(refused("t", dims, 0, 0), "tensor \"t\" is too large: its end in the file does not fit 64 bits");
    }
    assert!(refused("t", &[4], 0, u64::MAX - 31).contains("too large"));
}

#[test]
fn tensors_stay_inside_the_file_and_apart() {
    let f32s = |name, count: &'static [u64], offset| (name, count, 0, offset);
    assert!(open(described(&[f32s("a", &[8], 0), f32s("b", &[8], 32)], 64)).is_ok());
    assert!(open(described(&[f32s("b", &[8], 32), f32s("a", &[8], 0)], 64)).is_ok());
    let outside = message(open(described(&[f32s("a", &[8], 0), f32s("b", &[8], 32)], 63)));
    assert_eq!(outside, "tensor \"b\" takes bytes 128 to 160, past the end of the file at 159");
    let overlapping = described(&[f32s("b", &[8], 32), f32s("a", &[9], 0)], 64);
    assert_eq!(message(parse(&overlapping)), "tensors \"a\" and \"b\" overlap at 32 of the data section");
    let same = described(&[f32s("a", &[1], 0), f32s("b", &[1], 0)], 64);
    assert!(matches!(parse(&same), Err(Error::Overlap { .. })));
    let twice = described(&[f32s("a", &[8], 0), f32s("a", &[8], 32)], 64);
    assert_eq!(parse(&twice), Err(Error::DuplicateTensor("a".into())));
}

#[test]
fn a_file_without_tensors_needs_no_padding() {
    let gguf = open(Writer::new().bool("a", false).finish()).unwrap();
    assert_eq!((gguf.tensors().len(), gguf.metadata().len()), (0, 1));
}

/// Part `number` of `count`, with one tensor named after it.
fn part(number: u16, count: u16, tensors: i32) -> Bytes {
    let name = format!("t{number}");
    let writer =
        Writer::new().value("split.no", number).value("split.count", count).value("split.tensors.count", tensors);
    Bytes::new(
        writer.u32("only.here", number.into()).tensor(&name, &[4], TensorType::F32, vec![number as u8; 16]).finish(),
    )
}

#[test]
fn split_files_are_joined() {
    let gguf = Gguf::open((0..3).map(|number| part(number, 3, 3)).collect()).unwrap();
    assert_eq!((gguf.part_count(), gguf.tensors().len(), gguf.metadata().u32("only.here")), (3, 3, Ok(Some(0))));
    for number in 0..3 {
        assert_eq!(gguf.tensor(&format!("t{number}")).unwrap().1[..], [number; 16]);
    }
}

#[test]
fn wrong_sets_of_split_files_are_refused() {
    let refused = |parts: Vec<Bytes>| message(Gguf::open(parts));
    assert_eq!(refused(vec![]), "no file was given");
    assert_eq!(refused(vec![part(0, 3, 3)]), "this model is split into 3 files, 1 given; all are needed, in order");
    assert!(refused(vec![part(0, 3, 3), part(1, 3, 3)]).contains("split into 3 files, 2 given"));
    let wrong_order = "file 1 of the split model: file 1 of a split model has split.no 1, expected 0";
    assert!(refused(vec![part(1, 2, 2), part(0, 2, 2)]).starts_with(wrong_order));
    assert!(refused(vec![part(0, 2, 2), part(0, 2, 2)]).contains("has split.no 0, expected 1: a wrong, repeated"));
    assert_eq!(
        refused(vec![part(0, 2, 5), part(1, 2, 5)]),
        "this split model has 2 tensors, expected 5 by split.tensors.count"
    );
    let whole = || Bytes::new(Writer::new().finish());
    assert!(refused(vec![whole(), whole()]).contains("2 files were given, but this one is not part of a split model"));
    let same_tensor = |number: u16| {
        let writer = Writer::new().value("split.no", number).value("split.count", 2u16);
        Bytes::new(writer.tensor("same", &[1], TensorType::F32, [0; 4]).finish())
    };
    assert_eq!(refused(vec![same_tensor(0), same_tensor(1)]), "tensor \"same\" occurs twice");
    let cut = part(1, 2, 2);
    let cut = cut.slice(0..cut.len() - 1).unwrap();
    assert!(refused(vec![part(0, 2, 2), cut]).starts_with("file 2 of the split model: tensor \"t1\" takes bytes"));
}

#[test]
fn split_file_names_are_derived() {
    let names = split_file_names("dir/x-of-y-00001-of-00003.gguf").unwrap();
    assert_eq!(
        names,
        ["dir/x-of-y-00001-of-00003.gguf", "dir/x-of-y-00002-of-00003.gguf", "dir/x-of-y-00003-of-00003.gguf"]
    );
    assert_eq!(split_file_names("x-00002-of-00002.gguf").unwrap().len(), 2);
    for name in [
        "x.gguf",
        "x-00001-of-00003",
        "x-1-of-3.gguf",
        "x-00000-of-00003.gguf",
        "x-00004-of-00003.gguf",
        "x-+0001-of-00003.gguf",
    ] {
        assert_eq!(split_file_names(name), None, "{name}");
    }
}

fn any_string() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..12)
}

fn any_array() -> impl Strategy<Value = Array> {
    let leaf = prop_oneof![
        any::<Vec<u8>>().prop_map(Array::U8),
        any::<Vec<i8>>().prop_map(Array::I8),
        any::<Vec<u16>>().prop_map(Array::U16),
        any::<Vec<i16>>().prop_map(Array::I16),
        any::<Vec<u32>>().prop_map(Array::U32),
        any::<Vec<i32>>().prop_map(Array::I32),
        any::<Vec<f32>>().prop_map(Array::F32),
        any::<Vec<bool>>().prop_map(Array::Bool),
        any::<Vec<u64>>().prop_map(Array::U64),
        any::<Vec<i64>>().prop_map(Array::I64),
        any::<Vec<f64>>().prop_map(Array::F64),
        prop::collection::vec(any_string(), 0..6).prop_map(|strings| Array::String(strings.iter().collect())),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| prop::collection::vec(inner, 0..4).prop_map(Array::Array))
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u8>().prop_map(Value::U8),
        any::<i8>().prop_map(Value::I8),
        any::<u16>().prop_map(Value::U16),
        any::<i16>().prop_map(Value::I16),
        any::<u32>().prop_map(Value::U32),
        any::<i32>().prop_map(Value::I32),
        any::<f32>().prop_map(Value::F32),
        any::<bool>().prop_map(Value::Bool),
        any::<String>().prop_map(Value::String),
        any::<u64>().prop_map(Value::U64),
        any::<i64>().prop_map(Value::I64),
        any::<f64>().prop_map(Value::F64),
        any_array().prop_map(Value::Array),
    ]
}

type AnyTensor = (Vec<u64>, TensorType, Vec<u8>);

fn any_tensor() -> impl Strategy<Value = AnyTensor> {
    let dims = prop::collection::vec(1u64..4, 1..=4);
    (dims, prop::sample::select(TensorType::ALL), any::<u8>()).prop_map(|(mut dims, kind, fill)| {
        let blocks: u64 = dims.iter().product();
        dims[0] *= kind.block_len() as u64;
        (dims, kind, vec![fill; blocks as usize * kind.block_bytes()])
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        values in prop::collection::vec(any_value(), 0..8),
        tensors in prop::collection::vec(any_tensor(), 0..4),
        alignment in 0u32..8,
    ) {
        let mut writer = Writer::new().u32(ALIGNMENT_KEY, 1 << alignment);
        for (i, value) in values.iter().enumerate() {
            writer = writer.value(&format!("key.{i}"), value.clone());
        }
        for (i, (dims, kind, data)) in tensors.iter().enumerate() {
            writer = writer.tensor(&format!("tensor.{i}"), dims, *kind, data.clone());
        }
        let file = writer.finish();
        let gguf = open(file.clone()).unwrap();
        let mut again = Writer::new();
        for (key, value) in gguf.metadata().iter() {
            again = again.value(key, value.clone());
        }
        for tensor in gguf.tensors() {
            again = again.tensor(&tensor.name, &tensor.dims, tensor.kind, &gguf.tensor(&tensor.name).unwrap().1[..]);
        }
        prop_assert!(again.finish() == file);
        prop_assert_eq!(gguf.metadata().len(), values.len() + 1);
        for (i, (dims, kind, data)) in tensors.iter().enumerate() {
            let (tensor, bytes) = gguf.tensor(&format!("tensor.{i}")).unwrap();
            prop_assert_eq!((&tensor.dims, tensor.kind, &bytes[..]), (dims, *kind, &data[..]));
        }
    }

    #[test]
    fn damage_in_several_places_is_survived(damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut file = sample().finish();
        for (at, byte) in damage {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if let Ok(Parsed::NeedMore { total }) = parse(&file) {
            prop_assert!(total > file.len() && total <= MAX_HEADER);
        }
        if let Err(error) = open(file) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
