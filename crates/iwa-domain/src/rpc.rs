//! RPC over TCP: connections to a domain controller's services, and the endpoint mapper that knows where they listen.
//! C706 12.6, MS-RPCE 2.1.1.1.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use iwa_auth::netlogon::association::MAX_FRAG;
use iwa_auth::netlogon::{Association, Binding, RpcError, Session, Turn};
use iwa_auth::ports::Answer;
use iwa_auth::{Entropy, Env, env::EntropyError};
use iwa_wire::dcerpc::epm::{EPT_MAP, Tower};
use iwa_wire::dcerpc::{Header, Syntax};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::local::now;

/// Both directions of a connection.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Who makes connections: TCP, or memory in tests.
pub trait Dial: Send + Sync + fmt::Debug {
    /// Connects.
    fn dial(&self, address: SocketAddr) -> Answer<'_, io::Result<Box<dyn Stream>>>;
}

/// Connections over TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Dial for Tcp {
    fn dial(&self, address: SocketAddr) -> Answer<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub enum CallError {
    /// The connection: it could not be made, or it ended.
    Io(io::Error),
    /// What came over it.
    Rpc(RpcError),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Rpc(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CallError {}

impl From<io::Error> for CallError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<RpcError> for CallError {
    fn from(error: RpcError) -> Self {
        Self::Rpc(error)
    }
}

/// One connection, with one call at a time. Whatever goes wrong, and a call that is not waited for to its end, ends it.
pub struct Connection {
    stream: Box<dyn Stream>,
    association: Option<Association>,
    buffer: Vec<u8>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("association", &self.association).finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects to `address` and binds `interface`; under a `session` everything is sealed.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn open(
        dial: &dyn Dial,
        address: SocketAddr,
        interface: Syntax,
        session: Option<&Session>,
    ) -> Result<Self, CallError> {
        let mut stream = dial.dial(address).await?;
        let mut buffer = Vec::with_capacity(1024);
        let binding = Binding::begin(interface, session, &mut buffer);
        stream.write_all(&buffer).await?;
        read_pdu(&mut stream, &mut buffer).await?;
        let association = Some(binding.bound(&buffer)?);
        Ok(Self { stream, association, buffer })
    }

    /// Calls operation `opnum` and returns the stub of its answer.
    ///
    /// # Errors
    /// [`CallError`]; the connection is over.
    pub async fn call(&mut self, opnum: u16, stub: &[u8]) -> Result<Zeroizing<Vec<u8>>, CallError> {
        let over = || io::Error::new(io::ErrorKind::NotConnected, "the connection is over");
        let association = self.association.take().ok_or_else(over)?;
        self.buffer.clear();
        let mut call = {
            let mut env = Env { now: now(), entropy: &mut SystemEntropy };
            association.request(opnum, stub, &mut env, &mut self.buffer)?
        };
        self.stream.write_all(&self.buffer).await?;
        loop {
            read_pdu(&mut self.stream, &mut self.buffer).await?;
            match call.take(&self.buffer)? {
                Turn::More(more) => call = more,
                Turn::Done(association, stub) => {
                    self.association = Some(association);
                    return Ok(stub);
                }
            }
        }
    }
}

/// On which port `interface` listens over TCP.
///
/// # Errors
/// In words, what the endpoint mapper said.
pub async fn endpoint(dial: &dyn Dial, mapper: SocketAddr, interface: Syntax) -> Result<u16, CallError> {
    let mut connection = Connection::open(dial, mapper, Syntax::EPM, None).await?;
    let mut stub = Vec::new();
    Tower::write_request(interface, &mut stub);
    let answer = connection.call(EPT_MAP, &stub).await?;
    let (towers, status) = Tower::parse_response(&answer).map_err(RpcError::Malformed)?;
    let found = towers.iter().find(|tower| tower.interface.uuid == interface.uuid && tower.port != 0);
    found.map(|tower| tower.port).ok_or_else(|| {
        let text = format!(
            "its endpoint mapper knows no TCP port of {} (status 0x{status:08x}): no domain controller, or a service of it \
             is not running",
            interface.uuid
        );
        CallError::Io(io::Error::new(io::ErrorKind::NotFound, text))
    })
}

/// Waits for `work` so long and no longer.
///
/// # Errors
/// Those of `work`, or that it took too long.
pub(crate) async fn within<T, E: From<io::Error>>(
    limit: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    timeout(limit, work).await.unwrap_or_else(|_| {
        let text = format!("no answer in {} ms", limit.as_millis());
        Err(io::Error::new(io::ErrorKind::TimedOut, text).into())
    })
}

/// Reads one PDU into `buffer`. Its header is looked at before room is made for the rest.
async fn read_pdu(stream: &mut Box<dyn Stream>, buffer: &mut Vec<u8>) -> Result<(), CallError> {
    let mut head = [0; Header::SIZE];
    stream.read_exact(&mut head).await?;
    let header = Header::parse(&head, MAX_FRAG).map_err(RpcError::Malformed)?;
    buffer.clear();
    buffer.extend_from_slice(&head);
    buffer.resize(usize::from(header.frag_length), 0);
    stream.read_exact(buffer.get_mut(Header::SIZE..).unwrap_or_default()).await?;
    Ok(())
}

/// The operating system's randomness.
pub(crate) struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(out).map_err(|_| EntropyError)
    }
}
