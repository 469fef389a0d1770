//! Metadata values: their types in memory and in the file.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::strings::Strings;

pub(super) const BOOL: u32 = 7;
pub(super) const STRING: u32 = 8;
pub(super) const ARRAY: u32 = 9;

/// One row per number type: variant, Rust type (whose little-endian bytes the file holds), GGUF id, name.
macro_rules! values {
    ($($variant:ident($type:ident) = $id:literal, $name:literal;)*) => {
        /// A metadata value.
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs)]
        pub enum Value { $($variant($type),)* Bool(bool), String(String), Array(Array) }

        /// A metadata array; its elements have one type, but nested arrays may differ from each other in theirs.
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs)]
        pub enum Array { $($variant(Vec<$type>),)* Bool(Vec<bool>), String(Strings), Array(Vec<Array>) }

        impl Value {
            /// The GGUF id of the value's type.
            pub(super) fn type_id(&self) -> u32 {
                match self {
                    $(Self::$variant(_) => $id,)*
                    Self::Bool(_) => BOOL,
                    Self::String(_) => STRING,
                    Self::Array(_) => ARRAY,
                }
            }

            /// The number of type `id` whose bytes these are; `None` for other types and for another number of bytes.
            pub(super) fn number(id: u32, bytes: &[u8]) -> Option<Self> {
                Some(match id { $($id => Self::$variant($type::from_le_bytes(bytes.try_into().ok()?)),)* _ => return None })
            }

            /// Appends the value as the file has it, without its type.
            pub(super) fn write(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$variant(number) => out.extend_from_slice(&number.to_le_bytes()),)*
                    Self::Bool(truth) => out.push(u8::from(*truth)),
                    Self::String(text) => write_string(text.as_bytes(), out),
                    Self::Array(array) => array.write(out),
                }
            }
        }

        impl Array {
            /// Number of elements.
            pub fn len(&self) -> usize {
                match self {
                    $(Self::$variant(numbers) => numbers.len(),)*
                    Self::Bool(truths) => truths.len(),
                    Self::String(strings) => strings.len(),
                    Self::Array(arrays) => arrays.len(),
                }
            }

            /// The name of the elements' type, such as `u32` or `string`.
            pub fn element_name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)*
                    Self::Bool(_) => "bool",
                    Self::String(_) => "string",
                    Self::Array(_) => "array",
                }
            }

            /// The numbers of type `id` that `bytes` hold; `None` for other types.
            pub(super) fn numbers(id: u32, bytes: &[u8]) -> Option<Self> {
                Some(match id {
                    $($id => Self::$variant(bytes.as_chunks().0.iter().map(|&b| $type::from_le_bytes(b)).collect()),)*
                    _ => return None,
                })
            }

            /// Appends the array as the file has it: element type, count, elements.
            pub(super) fn write(&self, out: &mut Vec<u8>) {
                let id: u32 = match self {
                    $(Self::$variant(_) => $id,)*
                    Self::Bool(_) => BOOL,
                    Self::String(_) => STRING,
                    Self::Array(_) => ARRAY,
                };
                out.extend_from_slice(&id.to_le_bytes());
                out.extend_from_slice(&(self.len() as u64).to_le_bytes());
                match self {
                    $(Self::$variant(numbers) => numbers.iter().for_each(|n| out.extend_from_slice(&n.to_le_bytes())),)*
                    Self::Bool(truths) => out.extend(truths.iter().map(|&truth| u8::from(truth))),
                    Self::String(strings) => strings.iter().for_each(|string| write_string(string, out)),
                    Self::Array(arrays) => arrays.iter().for_each(|array| array.write(out)),
                }
            }
        }

        /// Bytes of a number of type `id`; `None` where it is no number type.
        pub(super) fn number_size(id: u32) -> Option<u64> {
            match id { $($id => Some(size_of::<$type>() as u64),)* _ => None }
        }

        impl Value {
            /// What the value is, for messages: the type, and for numbers the value too.
            pub(super) fn describe(&self) -> String {
                match self {
                    $(Self::$variant(number) => format!("{} {number}", $name),)*
                    Self::Bool(truth) => format!("bool {truth}"),
                    Self::String(_) => "a string".into(),
                    Self::Array(array) => format!("an array of {} x {}", array.len(), array.element_name()),
                }
            }

            /// The name of the value's type, such as `u32`, `string` or `array`.
            pub fn type_name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)*
                    Self::Bool(_) => "bool",
                    Self::String(_) => "string",
                    Self::Array(_) => "array",
                }
            }
        }

        $(impl From<$type> for Value { fn from(number: $type) -> Self { Self::$variant(number) } })*
        $(impl From<Vec<$type>> for Array { fn from(numbers: Vec<$type>) -> Self { Self::$variant(numbers) } })*
    };
}

values! {
    U8(u8) = 0, "u8";
    I8(i8) = 1, "i8";
    U16(u16) = 2, "u16";
    I16(i16) = 3, "i16";
    U32(u32) = 4, "u32";
    I32(i32) = 5, "i32";
    F32(f32) = 6, "f32";
    U64(u64) = 10, "u64";
    I64(i64) = 11, "i64";
    F64(f64) = 12, "f64";
}

impl Value {
    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The truth value of a bool.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(truth) = self { Some(*truth) } else { None }
    }

    /// The array.
    pub fn as_array(&self) -> Option<&Array> {
        if let Self::Array(array) = self { Some(array) } else { None }
    }

    /// An integer of any type, where it fits `T`.
    pub fn as_integer<T: TryFrom<i128>>(&self) -> Option<T> {
        let integer = match *self {
            Self::U8(n) => n.into(),
            Self::I8(n) => n.into(),
            Self::U16(n) => n.into(),
            Self::I16(n) => n.into(),
            Self::U32(n) => n.into(),
            Self::I32(n) => n.into(),
            Self::U64(n) => n.into(),
            Self::I64(n) => n.into(),
            _ => return None,
        };
        T::try_from(integer).ok()
    }

    /// A floating-point number of either type.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::F32(x) => Some(x.into()),
            Self::F64(x) => Some(x),
            _ => None,
        }
    }
}

impl Array {
    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Integers of any type, where all fit `T`.
    pub fn integers<T: TryFrom<i128>>(&self) -> Option<Vec<T>> {
        fn convert<S: Copy + Into<i128>, T: TryFrom<i128>>(numbers: &[S]) -> Option<Vec<T>> {
            numbers.iter().map(|&n| T::try_from(n.into()).ok()).collect()
        }
        match self {
            Self::U8(numbers) => convert(numbers),
            Self::I8(numbers) => convert(numbers),
            Self::U16(numbers) => convert(numbers),
            Self::I16(numbers) => convert(numbers),
            Self::U32(numbers) => convert(numbers),
            Self::I32(numbers) => convert(numbers),
            Self::U64(numbers) => convert(numbers),
            Self::I64(numbers) => convert(numbers),
            _ => None,
        }
    }

    /// Floating-point numbers of either type, as `f32`.
    pub fn floats(&self) -> Option<Cow<'_, [f32]>> {
        match self {
            Self::F32(numbers) => Some(Cow::Borrowed(numbers)),
            Self::F64(numbers) => Some(numbers.iter().map(|&x| x as f32).collect()),
            _ => None,
        }
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl<A: Into<Array>> From<A> for Value {
    fn from(array: A) -> Self {
        Self::Array(array.into())
    }
}

impl From<Vec<bool>> for Array {
    fn from(truths: Vec<bool>) -> Self {
        Self::Bool(truths)
    }
}

impl From<Strings> for Array {
    fn from(strings: Strings) -> Self {
        Self::String(strings)
    }
}

impl From<Vec<Array>> for Array {
    fn from(arrays: Vec<Array>) -> Self {
        Self::Array(arrays)
    }
}

/// Appends a string as the file has it: length, bytes.
pub(super) fn write_string(string: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(string.len() as u64).to_le_bytes());
    out.extend_from_slice(string);
}
