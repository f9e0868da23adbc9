//! The endpoint mapper: on which port an interface listens. `ept_map` and its towers. C706 I, L, O; MS-RPCE 2.2.1.2.

use core::net::Ipv4Addr;

use crate::error::{ErrorKind, ParseError};
use crate::ndr::{NdrReader, NdrWriter};
use crate::reader::Reader;

use super::syntax::{Syntax, Uuid};

/// The operation number of `ept_map`.
pub const EPT_MAP: u16 = 3;

/// Where an interface listens, over TCP: a tower of five floors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tower {
    /// The interface.
    pub interface: Syntax,
    /// The port; 0 in a question.
    pub port: u16,
    /// The address; unspecified in a question, and often in an answer too, or one that only the server's own network knows.
    pub address: Ipv4Addr,
}

impl Tower {
    /// Appends the stub of the question where `interface` listens. Four towers are enough: one port is wanted.
    pub fn write_request(interface: Syntax, out: &mut Vec<u8>) {
        let mut w = NdrWriter::new(out);
        // No object.
        w.pointer(false);
        w.pointer(true);
        Self { interface, port: 0, address: Ipv4Addr::UNSPECIFIED }.write(&mut w);
        w.align(4);
        // `entry_handle`: from the beginning.
        w.bytes(&[0; 20]);
        w.u32(TOWERS);
    }

    /// Reads the stub of a question: the interface that is asked for, if it is one over TCP.
    ///
    /// # Errors
    /// Truncated, contradicting counts, a tower that is not one.
    pub fn parse_request(stub: &[u8]) -> Result<Option<Syntax>, ParseError> {
        let mut ndr = NdrReader::new(Reader::new(FORMAT, stub));
        if ndr.pointer()? {
            ndr.array::<16>()?;
        }
        let tower = if ndr.pointer()? { Self::read(&mut ndr)? } else { None };
        ndr.align(4)?;
        ndr.array::<20>()?;
        ndr.u32()?;
        ndr.finish()?;
        Ok(tower.map(|tower| tower.interface))
    }

    /// Appends the stub of an answer.
    pub fn write_response(towers: &[Self], status: u32, out: &mut Vec<u8>) {
        let mut w = NdrWriter::new(out);
        w.bytes(&[0; 20]);
        w.u32(towers.len() as u32);
        w.u32(TOWERS);
        w.u32(0);
        w.u32(towers.len() as u32);
        towers.iter().for_each(|_| w.pointer(true));
        for tower in towers {
            w.align(4);
            tower.write(&mut w);
        }
        w.u32(status);
    }

    /// Reads the stub of an answer: the towers over TCP, and the status, 0 if there are any.
    ///
    /// # Errors
    /// Truncated, more towers than were asked for, contradicting counts, a tower that is not one.
    pub fn parse_response(stub: &[u8]) -> Result<(Vec<Self>, u32), ParseError> {
        let mut ndr = NdrReader::new(Reader::new(FORMAT, stub));
        ndr.array::<20>()?;
        let count = ndr.u32()?;
        if count > TOWERS {
            return Err(ndr.error(ErrorKind::Limit { what: "towers", limit: TOWERS as usize }));
        }
        let at = ndr;
        let (maximum, first, actual) = (ndr.u32()?, ndr.u32()?, ndr.u32()?);
        if first != 0 || actual != count || actual > maximum {
            return Err(at.error(ErrorKind::Value { what: "num_towers" }));
        }
        let mut present = 0;
        for _ in 0..count {
            present += u32::from(ndr.pointer()?);
        }
        let mut towers = Vec::new();
        for _ in 0..present {
            towers.extend(Self::read(&mut ndr)?);
        }
        let status = ndr.u32()?;
        ndr.finish()?;
        Ok((towers, status))
    }

    /// A `twr_t`: a conformant structure of octets.
    fn write(&self, w: &mut NdrWriter<'_>) {
        let mut octets = Vec::with_capacity(75);
        octets.extend_from_slice(&5u16.to_le_bytes());
        for syntax in [self.interface, Syntax::NDR] {
            let [major, minor] = [syntax.version as u16, (syntax.version >> 16) as u16].map(u16::to_le_bytes);
            floor(&mut octets, &[&[UUID_FLOOR], &syntax.uuid.0[..], &major].concat(), &minor);
        }
        floor(&mut octets, &[RPC_FLOOR], &[0, 0]);
        floor(&mut octets, &[TCP_FLOOR], &self.port.to_be_bytes());
        floor(&mut octets, &[IP_FLOOR], &self.address.octets());
        w.u32(octets.len() as u32);
        w.u32(octets.len() as u32);
        w.bytes(&octets);
    }

    /// `None` for a tower over something else than TCP.
    fn read(ndr: &mut NdrReader<'_>) -> Result<Option<Self>, ParseError> {
        let maximum = ndr.u32()?;
        ndr.conformance("tower_length", maximum)?;
        let at = ndr.offset();
        let mut octets = Reader::at(FORMAT, ndr.elements(maximum, 1)?, at);
        let count = octets.u16_le()?;
        let (mut interface, mut port, mut address) = (None, None, Ipv4Addr::UNSPECIFIED);
        for number in 0..count {
            let length = usize::from(octets.u16_le()?);
            let mut left = octets.sub(FORMAT, length)?;
            let length = usize::from(octets.u16_le()?);
            let mut right = octets.sub(FORMAT, length)?;
            match (number, left.u8()?) {
                (0, UUID_FLOOR) => {
                    let uuid = Uuid(*left.array()?);
                    let (major, minor) = (u32::from(left.u16_le()?), u32::from(right.u16_le()?));
                    interface = Some(Syntax { uuid, version: minor << 16 | major });
                }
                (_, TCP_FLOOR) => port = Some(right.u16_be()?),
                (_, IP_FLOOR) => address = Ipv4Addr::from(*right.array::<4>()?),
                _ => {}
            }
        }
        octets.finish()?;
        Ok(interface.zip(port).map(|(interface, port)| Self { interface, port, address }))
    }
}

fn floor(out: &mut Vec<u8>, left: &[u8], right: &[u8]) {
    for side in [left, right] {
        out.extend_from_slice(&(side.len() as u16).to_le_bytes());
        out.extend_from_slice(side);
    }
}

const FORMAT: &str = "ept_map";
/// How many towers are asked for.
const TOWERS: u32 = 4;
/// C706 L: the protocol identifiers of the floors.
const UUID_FLOOR: u8 = 0x0d;
const RPC_FLOOR: u8 = 0x0b;
const TCP_FLOOR: u8 = 0x07;
const IP_FLOOR: u8 = 0x09;

#[cfg(test)]
mod tests {
    use super::*;

    const TOWER: Tower = Tower { interface: Syntax::NETLOGON, port: 49_153, address: Ipv4Addr::new(192, 0, 2, 10) };

    fn response(towers: &[Tower]) -> Vec<u8> {
        let mut out = Vec::new();
        Tower::write_response(towers, 0, &mut out);
        out
    }

    #[test]
    fn what_is_written_is_read() {
        let mut out = Vec::new();
        Tower::write_request(Syntax::NETLOGON, &mut out);
        assert_eq!(Tower::parse_request(&out), Ok(Some(Syntax::NETLOGON)));
        for towers in [&[][..], &[TOWER], &[TOWER, Tower { port: 1, ..TOWER }]] {
            assert_eq!(Tower::parse_response(&response(towers)), Ok((towers.to_vec(), 0)));
        }
    }

    #[test]
    fn cut_anywhere_it_is_refused() {
        let mut request = Vec::new();
        Tower::write_request(Syntax::NETLOGON, &mut request);
        let response = response(&[TOWER]);
        for cut in 0..request.len() {
            assert!(Tower::parse_request(&request[..cut]).is_err(), "cut at {cut}");
        }
        for cut in 0..response.len() {
            assert!(Tower::parse_response(&response[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn more_towers_than_were_asked_for_are_refused() {
        assert!(Tower::parse_response(&response(&[TOWER; 5])).is_err());
        for (at, value) in [(20, 255), (23, 255), (28, 1), (32, 2), (24, 0)] {
            let mut bad = response(&[TOWER]);
            bad[at] = value;
            assert!(Tower::parse_response(&bad).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_tower_over_something_else_is_passed_over() {
        let mut other = response(&[TOWER]);
        let at = other.windows(3).position(|window| window == [1, 0, TCP_FLOOR]).unwrap();
        other[at + 2] = 0x0f;
        assert_eq!(Tower::parse_response(&other), Ok((Vec::new(), 0)));
    }
}
