//! `S4U_DELEGATION_INFO`: the services through which the client came by constrained delegation. MS-PAC 2.9.

use crate::error::ParseError;
use crate::explain::{Explain, Node, printable};
use crate::ndr::NdrReader;
use crate::utf16::Utf16;

/// The way of a delegated ticket.
#[derive(Clone, Copy, Debug)]
pub struct DelegationInfo<'a> {
    /// `S4U2proxyTarget`: the service to which the ticket was delegated.
    pub target: Utf16<'a>,
    count: u32,
    headers: NdrReader<'a>,
    texts: NdrReader<'a>,
}

impl<'a> DelegationInfo<'a> {
    /// Reads the buffer.
    ///
    /// # Errors
    /// As NDR has it: truncated, contradicting counts, trailing bytes.
    pub fn parse(bytes: &'a [u8], offset: usize) -> Result<Self, ParseError> {
        let mut ndr = NdrReader::serialized("S4U_DELEGATION_INFO", bytes, offset)?;
        if !ndr.pointer()? {
            return Err(ndr.error(crate::ErrorKind::Missing { what: "S4U_DELEGATION_INFO" }));
        }
        let target = ndr.string_header()?;
        let count = ndr.u32()?;
        let services = ndr.pointer()?;
        let target = ndr.string(target)?;
        let count = if services { count } else { 0 };
        if services {
            ndr.conformance("TransitedListSize", count)?;
        }
        let headers = ndr;
        // Eight bytes an `RPC_UNICODE_STRING`: a count beyond the input ends here.
        ndr.elements(count, 8)?;
        let info = Self { target, count, headers, texts: ndr };
        let (mut headers, mut texts) = (headers, ndr);
        for _ in 0..count {
            texts.string(headers.string_header()?)?;
        }
        texts.finish()?;
        Ok(info)
    }

    /// `S4UTransitedServices`: the services on the way, as they were parsed.
    pub fn transited(&self) -> impl Iterator<Item = Utf16<'a>> + use<'a> {
        let Self { count, mut headers, mut texts, .. } = *self;
        (0..count).map_while(move |_| texts.string(headers.string_header().ok()?).ok())
    }
}

impl Explain for DelegationInfo<'_> {
    fn explain(bytes: &[u8], offset: usize) -> Node {
        let range = offset..offset + bytes.len();
        let mut node = Node::branch("S4U_DELEGATION_INFO", range.clone(), "MS-PAC 2.9");
        match DelegationInfo::parse(bytes, offset) {
            Ok(info) => {
                node.children.push(Node::leaf("S4U2proxyTarget", printable(&info.target.to_string()), range.clone()));
                for service in info.transited() {
                    let text = printable(&service.to_string());
                    node.children.push(Node::leaf("S4UTransitedServices", text, range.clone()));
                }
            }
            Err(error) => node.error = Some(error),
        }
        node
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ndr::NdrWriter;

    fn sample(count: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        NdrWriter::serialized(&mut bytes, |w| {
            w.pointer(true);
            w.string_header("HTTP/backend.example.test");
            w.u32(count);
            w.pointer(true);
            w.string("HTTP/backend.example.test");
            w.u32(count);
            w.string_header("svc-a");
            w.string_header("svc-b");
            w.string("svc-a");
            w.string("svc-b");
        });
        bytes
    }

    #[test]
    fn services_on_the_way_are_read_in_order() {
        let bytes = sample(2);
        let info = DelegationInfo::parse(&bytes, 0).unwrap();
        assert!(info.target.eq_str("HTTP/backend.example.test"));
        assert_eq!(info.transited().map(|s| s.to_string()).collect::<Vec<_>>(), ["svc-a", "svc-b"]);
    }

    #[test]
    fn a_count_beyond_the_input_is_refused() {
        for count in [3, 1000, u32::MAX] {
            assert!(DelegationInfo::parse(&sample(count), 0).is_err());
        }
        let bytes = sample(2);
        for cut in 0..bytes.len() {
            assert!(DelegationInfo::parse(&bytes[..cut], 0).is_err());
        }
    }
}
