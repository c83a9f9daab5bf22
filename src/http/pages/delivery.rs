//! How far a mail has come, said to who waits for it.

use crate::account::delivery::DeliveryStatus;
use crate::http::extract::visitor::Visitor;
use crate::http::state::AppState;
use crate::locale::Text;

/// A mail that a page waits for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivery {
    pub(super) t: Text,
    /// Where the page's script asks again.
    pub(super) url: &'static str,
    /// How far it has come, if this browser caused one.
    pub(super) status: Option<DeliveryStatus>,
    /// Whether mails leave this machine.
    pub(super) mail_server: bool,
    /// Whether the reader may open the local mailbox.
    pub(super) mailbox: bool,
}

impl Delivery {
    pub(super) fn new(
        state: &AppState,
        visitor: &Visitor,
        t: Text,
        url: &'static str,
        status: Option<DeliveryStatus>,
    ) -> Self {
        let mailbox = state.mailbox().is_some() && visitor.is_local;
        Delivery { t, url, status, mail_server: state.has_mail_server(), mailbox }
    }

    pub(super) fn status_text(&self) -> &'static str {
        status_text(self.status)
    }

    /// Whether looking again can show something else.
    pub(super) fn may_change(&self) -> bool {
        matches!(self.status, Some(DeliveryStatus::Queued | DeliveryStatus::Sent | DeliveryStatus::Delayed))
    }

    /// What the waiting person is told.
    pub(super) fn words(&self) -> String {
        self.sentence(self.status)
    }

    /// What the waiting person is told when the mail has come as far as `status`. A mail in the local mailbox has gone to
    /// no mail server, and no other inbox will get it.
    pub(super) fn sentence(&self, status: Option<DeliveryStatus>) -> String {
        let t = self.t;
        match status {
            None => t.get("delivery-unknown"),
            Some(DeliveryStatus::Queued) => t.get("delivery-queued"),
            Some(DeliveryStatus::Sent) if self.mailbox => t.get("delivery-sent-here"),
            Some(DeliveryStatus::Sent) if !self.mail_server => t.get("delivery-sent-nowhere"),
            Some(DeliveryStatus::Sent) => t.get("delivery-sent"),
            Some(DeliveryStatus::Delayed) => t.get("delivery-delayed"),
            Some(DeliveryStatus::Rejected) => t.get("delivery-rejected"),
        }
    }
}

/// The word for it in the answers to the page's script and in the style sheet.
pub(super) fn status_text(status: Option<DeliveryStatus>) -> &'static str {
    status.map_or("unknown", DeliveryStatus::as_str)
}
