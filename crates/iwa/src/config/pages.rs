//! `[pages]`: pages in the administrator's words.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::raw::{At, Section};
use super::read::Reading;
use crate::gateway::templates::{Page, Template, Templates};

impl<'a> Reading<'a> {
    pub(super) fn pages(&self, section: Section<'a>) -> Templates {
        let dir = section.string("dir");
        let mut sources = vec!["'self'".to_owned()];
        if let Some(written) = section.strings("sources") {
            sources = Vec::new();
            for At { value, span } in written.value {
                if is_source(value) {
                    sources.push(value.to_owned());
                } else {
                    let wanted = "\"'self'\" or an address such as \"https://cdn.example.test\"";
                    self.report.error(span, format!("sources: wanted {wanted}; found \"{value}\""));
                }
            }
        }
        let mut pages = BTreeMap::new();
        if let Some(At { value, span }) = dir {
            let dir = self.path(value);
            match self.templates(&dir) {
                Ok(found) if found.is_empty() => self.report.warning(
                    span,
                    format!(
                        "dir: {} has no page: wanted files such as 401.html, 5xx.html, sign-in.html",
                        dir.display()
                    ),
                ),
                Ok(found) => {
                    for (name, template) in found {
                        match template {
                            Ok((page, template)) => drop(pages.insert(page, template)),
                            Err(why) => {
                                self.report.error(span.clone(), format!("dir: {}: {why}", dir.join(name).display()))
                            }
                        }
                    }
                }
                Err(error) => self.report.error(span, format!("dir: {}: {error}", dir.display())),
            }
        } else if section.is_written() {
            self.report.error(section.span(), "[pages] needs `dir`, for example dir = \"/etc/iwa/pages\"");
        }
        section.finish();
        Templates::new(pages, &sources)
    }

    /// Every HTML file of a directory, as a page or what is wrong with it.
    #[allow(clippy::type_complexity, reason = "read once, above")]
    fn templates(&self, dir: &Path) -> std::io::Result<Vec<(String, Result<(Page, Template), String>)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(stem) = name.strip_suffix(".html") {
                found.push((name.clone(), template(stem, &entry.path())));
            }
        }
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(found)
    }
}

fn template(stem: &str, file: &Path) -> Result<(Page, Template), String> {
    let page = Page::named(stem)
        .ok_or("there is no such page: wanted sign-in.html, a status such as 401.html, 4xx.html or 5xx.html")?;
    let length = fs::metadata(file).map_err(|error| error.to_string())?.len();
    if length > LONGEST_PAGE {
        return Err(format!("it is longer than {} KiB", LONGEST_PAGE >> 10));
    }
    let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
    Ok((page, Template::parse(&text, page)?))
}

fn is_source(text: &str) -> bool {
    let host = text.strip_prefix("https://").unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'/' | b'*' | b'_');
    text == "'self'" || (!host.is_empty() && !host.starts_with('/') && host.bytes().all(plain))
}

/// Bytes.
const LONGEST_PAGE: u64 = 256 << 10;
