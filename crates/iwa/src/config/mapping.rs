//! `[[mapping]]`: what an application calls its visitors.

use super::raw::{At, Section};
use super::read::{Have, Reading};
use crate::gateway::mapping::{Mapping, MappingRule, Pattern, Template, Whose};

impl<'a> Reading<'a> {
    pub(super) fn mapping(&self, sections: Vec<Section<'a>>, have: Have<'_>) -> Mapping {
        let nobody = !have.somebody();
        if let Some(section) = sections.first().filter(|_| nobody) {
            self.report.warning(section.span(), "[[mapping]] has no effect: nobody can sign in");
        }
        Mapping(sections.into_iter().filter_map(|section| self.mapping_rule(section)).collect())
    }

    fn mapping_rule(&self, section: Section<'a>) -> Option<MappingRule> {
        let mut broken = false;
        let realm = match section.string("realm") {
            None => Whose::Ours,
            Some(At { value: "*", .. }) => Whose::Anybodys,
            Some(At { value, span }) => {
                if value.is_empty() || value.contains(['@', '\\', '/', '*']) {
                    broken = true;
                    self.report.error(
                        span,
                        format!("realm: wanted a realm or domain, or \"*\" for every one; found \"{value}\""),
                    );
                }
                Whose::Of(value.to_owned())
            }
        };
        let written = section.string("match");
        let pattern = written.as_ref().and_then(|written| match Pattern::parse(written.value) {
            Ok(pattern) => Some(pattern),
            Err(why) => {
                broken = true;
                let what = "wanted a regular expression for the whole of user@REALM";
                self.report.error(written.span.clone(), format!("match: {what}; found \"{}\": {why}", written.value));
                None
            }
        });
        let deny = section.boolean("deny").is_some_and(|deny| deny.value);
        let local = section.string("local");
        let template = local.as_ref().filter(|_| !broken).and_then(|local| {
            match Template::parse(local.value, pattern.as_ref()) {
                Ok(template) => {
                    if realm == Whose::Anybodys && !template.tells_realms_apart() {
                        broken = true;
                        self.report.error(
                            local.span.clone(),
                            format!(
                                "local: \"{}\" would give users of different realms one name: with realm = \"*\" it needs {{realm}} \
                                 or {{sid}}; or name the realm",
                                local.value
                            ),
                        );
                    }
                    Some(template)
                }
                Err(why) => {
                    broken = true;
                    self.report.error(local.span.clone(), format!("local: \"{}\": {why}", local.value));
                    None
                }
            }
        });
        let span = section.span();
        section.finish();
        if deny == local.is_some() {
            self.report.error(span, "[[mapping]] needs either `local`, the name for the application, or deny = true");
            return None;
        }
        (!broken).then_some(MappingRule { realm, pattern, local: template })
    }
}
