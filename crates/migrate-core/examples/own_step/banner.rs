//! The kind `Banner`: puts a line on a site. Its effect can be looked at, so that a resume after
//! a crash never guesses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use migrate_core::{
    Description, Finding, MigrationStep, Outcome, Preview, Probe, Readiness, Receipt, ScopeObject,
    Step, StepContext, StepError, StepKind, StepSite, UndoReport, Undoable,
};
use serde_json::json;

/// What the steps change: a real kind would talk to a service.
#[derive(Clone, Default)]
pub(crate) struct Site(Arc<Mutex<BTreeMap<String, String>>>);

impl Site {
    fn with<T>(&self, look: impl FnOnce(&mut BTreeMap<String, String>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn banners(&self) -> Vec<String> {
        self.with(|banners| banners.values().cloned().collect())
    }
}

/// What a step needs from outside comes in through the constructor of its kind.
pub(crate) struct BannerKind {
    site: Site,
}

impl BannerKind {
    pub(crate) fn new(site: Site) -> Self {
        Self { site }
    }
}

impl StepKind for BannerKind {
    fn name(&self) -> &'static str {
        "Banner"
    }

    fn extra_fields(&self) -> &[&str] {
        &["text", "most"]
    }

    fn build(
        &self,
        spec: &MigrationStep,
        _site: &StepSite<'_>,
    ) -> Result<Box<dyn Step>, Vec<Finding>> {
        let text = spec.extra.get("text").and_then(|text| text.as_str());
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return Err(vec![
                Finding::error("banner.text", "a Banner step needs a text").at("/text"),
            ]);
        };
        let most = spec.extra.get("most").and_then(serde_json::Value::as_u64);
        Ok(Box::new(Banner {
            site: self.site.clone(),
            id: spec.id.to_string(),
            text: text.to_owned(),
            most: most
                .and_then(|most| usize::try_from(most).ok())
                .unwrap_or(80),
        }))
    }
}

struct Banner {
    site: Site,
    id: String,
    text: String,
    most: usize,
}

#[async_trait]
impl Step for Banner {
    fn describe(&self) -> Description {
        Description {
            title: format!("show {:?}", self.text),
            scope: vec![ScopeObject::Outside(format!("the banner {}", self.id))],
            undo: Undoable::Yes,
            deferred: false,
            runs_commands: false,
            actions: vec![format!("{} = {:?}", self.id, self.text)],
            inputs: Vec::new(),
        }
    }

    async fn preview(&self, _cx: &StepContext) -> Result<Preview, StepError> {
        Ok(Preview::default())
    }

    async fn check(&self, _cx: &StepContext) -> Result<Readiness, StepError> {
        let there = self.site.with(|banners| banners.get(&self.id).cloned());
        Ok(if there.as_ref() == Some(&self.text) {
            Readiness::AlreadyDone("it is shown already".to_owned())
        } else {
            Readiness::Ready
        })
    }

    /// What `undo` needs: small, and durable before `run` is called.
    async fn prepare(&self, _cx: &StepContext) -> Result<Receipt, StepError> {
        let before = self.site.with(|banners| banners.get(&self.id).cloned());
        Ok(Receipt(json!({ "before": before })))
    }

    async fn run(&self, cx: &StepContext, _receipt: &Receipt) -> Result<Outcome, StepError> {
        cx.check_cancelled()?;
        if self.text.len() > self.most {
            let message = format!("{:?} is longer than {} letters", self.text, self.most);
            return Err(StepError::failed(message).hint("say it shorter"));
        }
        self.site
            .with(|banners| banners.insert(self.id.clone(), self.text.clone()));
        Ok(Outcome::line("shown"))
    }

    /// Brings back what was there, except what somebody else wrote since.
    async fn undo(&self, _cx: &StepContext, receipt: &Receipt) -> Result<UndoReport, StepError> {
        let before = receipt.0["before"].as_str().map(str::to_owned);
        Ok(self.site.with(|banners| {
            if banners.get(&self.id).is_some_and(|now| now != &self.text) {
                return UndoReport {
                    message: "left".to_owned(),
                    left: vec![format!("the banner {} was changed by somebody", self.id)],
                };
            }
            match before {
                Some(before) => banners.insert(self.id.clone(), before),
                None => banners.remove(&self.id),
            };
            UndoReport::line("taken down")
        }))
    }

    async fn probe(&self, _cx: &StepContext, _receipt: &Receipt) -> Result<Probe, StepError> {
        let there = self.site.with(|banners| banners.get(&self.id).cloned());
        Ok(if there.as_ref() == Some(&self.text) {
            Probe::Applied(Outcome::line("was shown"))
        } else {
            Probe::NotApplied
        })
    }
}
