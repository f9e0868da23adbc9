//! SEQUENCE OF without allocation: validated when parsed, read again when looked at. X.690 8.10.

use core::fmt;

use crate::der::{Der, DerWriter, Tag};
use crate::error::{ErrorKind, ParseError};

/// A type of which there are sequences.
pub trait Element<'a>: Copy {
    /// What there may not be too many of, for the error.
    const WHAT: &'static str;
    /// How many there may be.
    const LIMIT: usize;

    /// Reads the next value.
    ///
    /// # Errors
    /// The rule of the format that the bytes break.
    fn read(der: &mut Der<'a>) -> Result<Self, ParseError>;

    /// Appends the DER of this value.
    fn put(&self, w: &mut DerWriter<'_>);
}

/// A SEQUENCE OF: borrowed from a message, or made of a slice.
#[derive(Clone, Copy)]
pub struct SequenceOf<'a, T>(Repr<'a, T>);

#[derive(Clone, Copy)]
enum Repr<'a, T> {
    /// The contents octets: every element was read once without an error.
    Der(Der<'a>),
    Items(&'a [T]),
}

impl<'a, T: Element<'a>> SequenceOf<'a, T> {
    /// A sequence of these.
    #[must_use]
    pub const fn of(items: &'a [T]) -> Self {
        Self(Repr::Items(items))
    }

    /// Reads and validates the next value.
    ///
    /// # Errors
    /// That of an element, and [`ErrorKind::Limit`].
    pub fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        Self::read_as(Tag::SEQUENCE, der)
    }

    /// The same under another tag: a SET OF, or an IMPLICIT one.
    pub(crate) fn read_as(tag: Tag, der: &mut Der<'a>) -> Result<Self, ParseError> {
        let inside = der.enter(tag)?;
        let (mut rest, mut count) = (inside, 0);
        while !rest.is_empty() {
            if count == T::LIMIT {
                return Err(rest.error(ErrorKind::Limit { what: T::WHAT, limit: T::LIMIT }));
            }
            T::read(&mut rest)?;
            count += 1;
        }
        Ok(Self(Repr::Der(inside)))
    }

    /// Reads a whole input.
    ///
    /// # Errors
    /// As [`SequenceOf::read`]; trailing bytes are refused.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let mut der = Der::new(T::WHAT, bytes, 0);
        let sequence = Self::read(&mut der)?;
        der.finish()?;
        Ok(sequence)
    }

    /// Appends the DER.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.put(&mut DerWriter::new(out));
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        self.put_as(Tag::SEQUENCE, w);
    }

    pub(crate) fn put_as(&self, tag: Tag, w: &mut DerWriter<'_>) {
        w.nest(tag, |w| match self.0 {
            Repr::Der(der) => w.raw(der.peek()),
            Repr::Items(items) => items.iter().for_each(|item| item.put(w)),
        });
    }

    /// The elements.
    #[must_use]
    pub const fn iter(&self) -> Elements<'a, T> {
        Elements(self.0)
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        match self.0 {
            Repr::Der(der) => der.is_empty(),
            Repr::Items(items) => items.is_empty(),
        }
    }
}

impl<'a, T: Element<'a>> IntoIterator for SequenceOf<'a, T> {
    type Item = T;
    type IntoIter = Elements<'a, T>;

    fn into_iter(self) -> Elements<'a, T> {
        self.iter()
    }
}

impl<'a, T: Element<'a> + fmt::Debug> fmt::Debug for SequenceOf<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a, T: Element<'a> + PartialEq> PartialEq for SequenceOf<'a, T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

/// The elements of a [`SequenceOf`].
#[derive(Clone)]
pub struct Elements<'a, T>(Repr<'a, T>);

impl<'a, T: Element<'a>> Iterator for Elements<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match &mut self.0 {
            // Every element was read before; an error cannot come, and would end the sequence.
            Repr::Der(der) => T::read(der).ok(),
            Repr::Items(items) => {
                let (first, rest) = items.split_first()?;
                *items = rest;
                Some(*first)
            }
        }
    }
}

impl<'a, T: Element<'a>> fmt::Debug for Elements<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Elements")
    }
}

/// [`Element`] for a type that has `read` and `put` of its own.
macro_rules! element {
    ($($type:ident $what:literal $limit:literal)*) => {
        $(
            impl<'a> crate::krb5::Element<'a> for $type<'a> {
                const WHAT: &'static str = $what;
                const LIMIT: usize = $limit;

                fn read(der: &mut crate::der::Der<'a>) -> Result<Self, crate::error::ParseError> {
                    $type::read(der)
                }

                fn put(&self, w: &mut crate::der::DerWriter<'_>) {
                    $type::put(self, w);
                }
            }
        )*
    };
}
pub(super) use element;

/// `Int32`, as in the list of encryption types of a request.
impl<'a> Element<'a> for i32 {
    const WHAT: &'static str = "etype";
    const LIMIT: usize = 64;

    fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        super::field::int32(der)
    }

    fn put(&self, w: &mut DerWriter<'_>) {
        w.integer(Tag::INTEGER, i64::from(*self));
    }
}
