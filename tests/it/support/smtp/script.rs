//! What the sink says in each phase of a conversation.

use std::collections::HashMap;
use std::time::Duration;

/// The places of a conversation where a script may step in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    Banner,
    Ehlo,
    Mail,
    Rcpt,
    Data,
    /// After the final dot of a mail.
    Dot,
}

/// What happens in a phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Usual,
    Reply(String),
    Hang,
    Drop,
}

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub(super) delay: Duration,
    pub(super) answer: Answer,
    pub(super) keeps_mail: bool,
    times: Option<usize>,
}

impl Step {
    fn new(answer: Answer) -> Self {
        Self { delay: Duration::ZERO, answer, keeps_mail: false, times: None }
    }

    /// The usual answer, this much later.
    pub fn delay(by: Duration) -> Self {
        Self { delay: by, ..Self::new(Answer::Usual) }
    }

    /// This answer, such as `451 4.3.0 later`. Only 2xx and 3xx lead on. `{to}` in it becomes the recipient, and after the
    /// final dot `{link}` the mail's link: some servers quote what they refuse.
    pub fn reply(answer: &str) -> Self {
        Self::new(Answer::Reply(answer.to_owned()))
    }

    /// No answer, with the connection open.
    pub fn hang() -> Self {
        Self::new(Answer::Hang)
    }

    /// The connection ends without an answer.
    pub fn drop() -> Self {
        Self::new(Answer::Drop)
    }

    /// In [`Phase::Dot`]: the mail is taken all the same. So is a mail when the server dies before it can say so.
    pub fn keeping_the_mail(self) -> Self {
        Self { keeps_mail: true, ..self }
    }

    /// Only so often, then as usual.
    pub fn times(self, times: usize) -> Self {
        Self { times: Some(times), ..self }
    }

    /// Whether it still holds, counting this use.
    fn used(&mut self) -> bool {
        match &mut self.times {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }
}

/// What the sink does; by default it takes every mail.
#[derive(Clone, Debug, Default)]
pub struct Script {
    phases: HashMap<Phase, Step>,
    recipients: HashMap<String, Step>,
    pub(super) advertises_starttls: bool,
}

impl Script {
    /// With this step in this phase.
    pub fn on(mut self, phase: Phase, step: Step) -> Self {
        self.phases.insert(phase, step);
        self
    }

    /// With this step for this recipient, before that of [`Phase::Rcpt`].
    pub fn on_recipient(mut self, address: &str, step: Step) -> Self {
        self.recipients.insert(address.to_owned(), step);
        self
    }

    /// Advertises STARTTLS and answers it with 454: who insists on TLS must not go on.
    pub fn advertise_starttls(mut self) -> Self {
        self.advertises_starttls = true;
        self
    }

    /// The step for a phase, counting this use.
    pub(super) fn take(&mut self, phase: Phase, recipient: Option<&str>) -> Step {
        recipient
            .and_then(|address| self.recipients.get_mut(address).filter(|step| step.times != Some(0)))
            .or_else(|| self.phases.get_mut(&phase))
            .filter(|step| step.times != Some(0))
            .and_then(|step| step.used().then(|| step.clone()))
            .unwrap_or_else(|| Step::new(Answer::Usual))
    }
}
