# Every text a person reads, in English. The same keys and placeholders stand in every language; a test compares them.

# the frame of every page

skip-link = Skip to the content
nav-label = Main navigation
nav-home = Bellhop, to the front page
nav-sign-in = Sign in
nav-register = Create account
nav-account = Your account
footer-languages = Language
footer-mailbox = Local mailbox
footer-api = API
error-title = Please correct: { $title }
errors-heading = Something here needs another look
language-own-name = English

# spans

span-seconds = { $number ->
    [one] { $number } second
   *[other] { $number } seconds
}
span-minutes = { $number ->
    [one] { $number } minute
   *[other] { $number } minutes
}
span-hours = { $number ->
    [one] { $number } hour
   *[other] { $number } hours
}
span-days = { $number ->
    [one] { $number } day
   *[other] { $number } days
}

# fields

field-name = Your name
field-name-hint = As you would like to be addressed.
field-email = Email address
field-new-email = New email address
field-email-hint = We send one mail to it, with a link that completes your registration.
field-password = Password
field-new-password = New password
field-current-password = Current password
field-new-password-hint = At least 15 characters. A few words in a row are easy to keep and hard to guess.
password-show = Show password
password-hide = Hide password

# what can be wrong in a form

mistake-form = We could not read this form. Please fill it in once more.
mistake-name-missing = Please tell us your name.
mistake-name-long = This name is too long. Please shorten it to 100 characters.
mistake-name-characters = This name has characters in it that cannot be shown. Please type it again.
mistake-email-missing = Please enter your email address.
mistake-email-invalid = This does not look like an email address. It should look like name@example.org.
mistake-email-letters = Before the @ only letters from a to z, digits and common signs are possible here: many mail servers understand no others.
mistake-email-long = This address is longer than an email address can be.
mistake-email-same = This is your address already.
mistake-language = Please choose one of the languages.
mistake-password-missing = Please choose a password.
mistake-password-current = This is not your current password. Please type it again.
mistake-password-chosen = Please type the password you chose when you registered.
mistake-password-short = This is shorter than 15 characters. One or two more words will do.
mistake-password-long = This is longer than 256 characters. Please choose something shorter.
mistake-password-common = This password is on the lists that attackers try first. Please choose another one.
mistake-password-personal = This is too close to your name, your address or the name of this site. Please choose another one.
mistake-password-weak = This is easy to guess. Words that have nothing to do with each other make a better password.
mistake-password-characters = A password can hold any character but the NUL character. Please type it again.

# the front page

home-title = Welcome
home-headline-1 = Check in now.
home-headline-2 = Your bags follow.
home-lead = Bellhop signs you up on the spot and lets you in whenever you come back. Whatever takes longer, such as the confirmation mail, is carried up after you, and nothing you hand over is lost.
home-signed-in = You are signed in as { $name }.
home-how = How it goes
home-step-1 = You check in
home-step-1-text = A name, an email address, a password of a few words.
home-step-2 = We write to you
home-step-2-text = A mail with your link goes out on its own, and you can follow it.
home-step-3 = You get your key
home-step-3-text = One button confirms your address, and you are in.

# signing up

register-title = Create your account
register-lead = Three lines, and you are checked in.
register-submit = Create account
register-other = Been here before?
register-other-link = Sign in

# the page after signing up

sent-title = Check your inbox
sent-lead = We are writing to this address. Open the link in the mail to confirm that it is yours.
sent-lead-unknown = When you register, we write to your address. Open the link in that mail to confirm that it is yours.
sent-progress = Where your mail is
sent-step-1 = Checked in
sent-step-2 = On its way
sent-step-3 = Handed over
delivery-unknown = From this browser we cannot see where your mail is. If you have just registered, look in your inbox in a minute or two.
delivery-queued = Your mail is on its way. It leaves the desk in a moment.
delivery-sent = Your mail was handed to the mail server at { $time }. Look in your inbox, and in the junk folder if it is not there.
delivery-sent-here = No mail server is set up, so your mail went to the local mailbox on this machine. Open it there.
delivery-sent-nowhere = This site has no mail server set up yet, so your mail cannot reach you. Please tell whoever runs it.
delivery-delayed = { $why } { $next }
delivery-delayed-unreachable = Our mail server does not answer just now.
delivery-delayed-later = The mail server asks us to come back later.
delivery-delayed-ours = The mail server does not take our mails just now. That is for us to mend, and whoever runs this site is told.
delivery-next-try = We keep trying, next at about { $time }. You need not do anything, and your link stays good while it waits.
delivery-keep-trying = We keep trying. You need not do anything, and your link stays good while it waits.
delivery-rejected = The mail server refused this address, so our mail cannot reach you. Please correct it.
delivery-confirmed = Your address is confirmed. You are on your way in.
sent-mailbox = Open the local mailbox
sent-wrong = Is the address wrong?
sent-correct = Correct the address
sent-correct-hint = The mail goes there at once, and the link that went to the other address stops working. Your name and password stay.
sent-keep = The address is right
sent-again = Send it again

# confirming an address

confirm-title = Confirm your address
confirm-lead = One press of the button, and your account is ready.
confirm-password-lead = This is not the browser you registered with. Type the password you chose then, so that nobody but you can open the account.
confirm-submit = Confirm my address
confirm-password-wrong = This is not the password that was chosen at registration. Please try again.
confirmed-title = Your address is confirmed
confirmed-lead = There is nothing left to do here.
confirmed-lead-sign-in = There is nothing left to do here but to sign in.
confirm-invalid-title = This link does not work
confirm-invalid-lead = It may have expired, or a part of it may be missing. If you have confirmed your address already, sign in. If not, register again.

# signing in and out

login-title = Sign in
login-lead = Welcome back.
login-submit = Sign in
field-keep = Keep me signed in on this device
field-keep-hint = Not on a device that others use too.
login-refused = That did not work. Please check the address and the password. If you have just registered, confirm your address first.
login-too-often = There were many refused tries in a short time. Please try again in { $wait }, or get a link to choose a new password.
login-forgotten = Forgotten your password?
login-forgotten-link = Get a link
login-other = New here?
login-other-link = Create an account
sign-out = Sign out

# getting back in

forgot-title = Forgotten your password?
forgot-lead = Tell us your address, and we write to it with a link to choose a new one.
forgot-submit = Send me a link
forgot-other = It came back to you?
forgot-sent-lead = We are writing to this address. If you have an account here, the mail has a link that works for { $lifetime }.
disown-title = Was that not you?
disown-lead = One press signs that device out. We then write to you with a link to choose a new password.
disown-submit = Sign it out and send me a link
disown-invalid-lead = It may have expired, or a part of it may be missing. To be on the safe side, choose a new password.
reset-title = Choose a new password
reset-lead = When it is set, you are signed out everywhere, and sign in with the new one.
reset-submit = Set the password
reset-invalid-lead = It may have expired or been used, or a part of it may be missing. Ask for a new one.
reset-again = Get a new link

# what was just done

notice-password-reset = Your new password is set, and you are signed out everywhere. Sign in with it.
notice-password-changed = Your password is changed. You are signed out everywhere but here.
notice-email-changed = Your account has its new address now. Sign in with it from now on.
notice-email-withdrawn = The change is called off: the link in that mail opens nothing any more.
notice-email-undone = Your account has this address again, and everybody is signed out. Whoever changed it knew your password: choose a new one.
notice-restored = The deletion of your account is called off. Everything stays as it was.
notice-session-ended = That session is ended.
notice-sessions-ended = All other sessions are ended.
notice-mail-asked-again = We have asked for another mail. An address gets only so many in an hour and in a day: if none comes, try again later.
notice-address-corrected = The address is corrected. The earlier link does not work any more.
notice-confirmed = Your address is confirmed. Sign in with the password you chose.

# changing name and language

profile-title = Your name and language
profile-submit = Save
notice-profile-changed = Saved.

# changing the address

email-title = Change your email address
email-lead = We write to the new address with a link; nothing changes until it is used. Then we tell the present one, which can undo the change for { $span }.
email-submit = Write to the new address
email-waiting-lead = When the link in that mail is used, your account moves there. Until then it stays with { $email }.
email-withdraw = Call the change off
email-another = Or to another address
email-confirm-title = Move your account here?
email-confirm-lead = From then on you sign in with this address, and your mails come here.
email-confirm-submit = Use this address
email-done-title = Your account has this address
email-invalid-lead = It may have expired, or been overtaken by a later one. If you have used it already, sign in with the new address.
email-undo-title = Is this your account?
email-undo-lead = Your account was moved to another address. Undo that, and it has this one again. Everybody is signed out, and you choose a new password.
email-undo-submit = Undo the change
email-undo-invalid-lead = It may have expired or been used, or somebody has opened another account with this address. If your account is not yours any more, write to the people who run this site.

# deleting the account and taking it along

account-change-email = Change email address
account-yours = Your data
account-yours-lead = Everything we keep about you is yours to take along, and to have deleted.
account-deletes = Your account will be deleted on { $moment }.
delete-title = Delete your account
delete-lead = It is deleted after { $span }, with everything we keep about you. Until then you can call it off: here, by the link we send you, or by signing in.
delete-submit = Delete my account
restore-title = Keep your account?
restore-lead = It is to be deleted on { $moment }.
restore-submit = Keep my account
restore-invalid-lead = It may have been used, or the account is deleted already. If you can sign in, your account is still there.
export-title = Download your data
export-lead = It is some time since you last typed your password. Please do so once more.
export-submit = Download

# changing the password

password-title = Change your password
password-lead = You stay signed in here, and are signed out everywhere else.
password-submit = Change password
password-forgotten = Forgotten the current one?
password-forgotten-link = Get a link

# where one is signed in

sessions-title = Where you are signed in
sessions-lead = End what you do not know or do not need any more.
sessions-ask-lead = You signed in a while ago. Type your password to show that it is you who ends this.
sessions-begun = Since
sessions-seen = Last used
sessions-end = End
sessions-end-others = End all others

# the account

account-title = Your account
account-greeting = Good to see you, { $name }.
account-details = Your registration
account-name = Name
account-email = Email address
account-since = Guest since
account-language = Language
account-profile = Change name or language
account-password = Change password
account-sessions = Where you are signed in
activity-title = Latest sign-ins
activity-lead = Every time your account was opened, and every time somebody tried. Newest first.
activity-all = The whole log
activity-page-title = Your login log
activity-show-refused = Only refused
activity-show-all = Show all
activity-none = Nothing of this kind has happened.
activity-older = Older
activity-newest = Newest
activity-told = A new sign-in was added to the list.
activity-when = When
activity-what = What happened
activity-device = Device
activity-ip = IP address
activity-mark-ok = All right:
activity-mark-refused = Refused:
activity-present = The session you are looking from

# what happened, in words

activity-user-confirmed = Signed in by confirming the address
activity-password-changed = Password changed
activity-email-changed = Email address changed
activity-deletion-scheduled = Deletion of the account asked for
activity-restored = Deletion of the account called off
activity-login-succeeded = Signed in
activity-login-failed = Sign-in refused
activity-login-failed-password = Sign-in refused: wrong password
activity-login-failed-disabled = Sign-in refused: account disabled
device-on = { $browser } on { $system }
device-unknown = Unknown device

# the local mailbox

mailbox-title = Local mailbox
mailbox-lead = No mail server is set up, so every mail stays here and can be read on this machine only.
mailbox-empty = No mail yet. The next registration puts one here.
mailbox-subject = Subject
mailbox-to = To
mailbox-at = Received
mailbox-back = All mails

# the page of the API

api-title = API
api-lead = What the pages do with an account, a program can do too: JSON in, JSON out, mistakes as problem details (RFC 9457).
api-document = OpenAPI 3.1 document
api-path = Path
api-summary = What it does

# when something is not as it should be

problem-home = To the front page
problem-400-title = We could not read this request
problem-400-detail = Something in it is incomplete or out of order. Go back, reload the page, and try again.
problem-403-title = This is not open to you
problem-403-detail = The request seems to come from another site, or your account may not do this. Reload the page and try again.
problem-404-title = Nothing at this address
problem-404-detail = The page may have moved, or there may be a typo in the address.
problem-405-title = That does not work here
problem-405-detail = This page exists, but not for this kind of request. Start again from the front page.
problem-413-title = That is too much at once
problem-413-detail = What was sent is larger than this page accepts. Please shorten it and try again.
problem-415-title = We cannot read this format
problem-415-detail = The request has a content type that this address does not accept.
problem-421-title = This is not our address
problem-421-detail = The request was meant for a host that this site does not answer for. Please use the address you were given.
problem-429-title = One moment, please
problem-429-detail = There were many requests from your network in a short time. Wait a minute, then try again.
problem-429-wait = There were many requests from your network in a short time. Please try again in { $wait }.
problem-500-title = Something went wrong on our side
problem-500-detail = The error has been recorded for the people who run this site. Please try again in a while.
problem-503-title = All hands are busy
problem-503-detail = There is more to do right now than we can do at once. Please try again in a few seconds.

# mails

mail-greeting = Hello { $name },
mail-greeting-plain = Hello,
mail-automatic = { $site } sent this mail because this address was entered there or belongs to an account. Replies are not read.
mail-paste = If the button does nothing, copy this address into your browser:
mail-link-expiry = The link works for { $lifetime }, and only once.
mail-confirmation-subject = Please confirm your email address
mail-confirmation-preview = One press of a button, and your account is ready.
mail-confirmation-lead = Your account is nearly ready. Please confirm that this address is yours:
mail-confirmation-button = Confirm my address
mail-confirmation-not-you = If you did not register, ignore this mail: no account is created unless the link is used.
mail-reminder-subject = Your registration still waits for you
mail-reminder-preview = One press of a button, and your account is ready.
mail-reminder-lead = Some time ago somebody, you we hope, registered with this address and has not confirmed it yet. The link works once more:
mail-reminder-not-you = If you did not register, ignore this mail. There is no other reminder, and on { $moment } the registration is deleted.
mail-reset-subject = Your link to a new password
mail-reset-preview = It works once, and not for long.
mail-reset-lead = Somebody, you we hope, has forgotten the password of your account. Choose a new one here:
mail-reset-button = Choose a new password
mail-reset-not-you = If it was somebody else, ignore this mail: your password has not changed.
mail-no-account-subject = There is no account with this address
mail-no-account-preview = Somebody asked for a new password.
mail-no-account-lead = Somebody asked for a new password and entered this address, but nobody has an account with it.
mail-no-account-you = If that was you, you may have registered with another address. You can also create an account:
mail-no-account-button = Create account
mail-no-account-not-you = If it was somebody else, ignore this mail.
mail-sign-in-device-subject = A new device has signed in to your account
mail-sign-in-device-lead = Somebody has signed in to your account with a device or a browser that has not signed in to it before.
mail-sign-in-failures-subject = Somebody has signed in to your account after many tries
mail-sign-in-failures-lead = Somebody has signed in to your account after several tries with a wrong password.
mail-sign-in-facts = { $device }, on { $moment }, from the network address { $ip }.
mail-sign-in-not-you = If that was you, you need not do anything. If not, sign that device out and choose a new password at once:
mail-sign-in-button = That was not me
mail-password-changed-subject = Your password was changed
mail-password-changed-preview = You are signed out everywhere else.
mail-password-changed-lead = The password of your account was changed on { $moment }. Everybody who was signed in with the old one is signed out.
mail-password-changed-not-you = If that was you, you need not do anything. If not, choose a new password at once:
mail-password-changed-button = Choose a new password
mail-email-change-subject = Please confirm your new email address
mail-email-change-preview = Nothing changes until you do.
mail-email-change-lead = Somebody, you we hope, wants to use this address for their account. Please confirm that it is yours:
mail-email-change-button = Use this address
mail-email-change-not-you = If it was not you, ignore this mail: nothing changes unless the link is used.
mail-email-taken-subject = You already have an account here
mail-email-taken-lead = Somebody wanted to move their account to this address, but there is an account with it already. Nothing about it has changed.
mail-email-taken-you = If that was you, sign in to the account you have with this address:
mail-email-changed-subject = Your email address was changed
mail-email-changed-preview = If that was not you, you can undo it.
mail-email-changed-lead = Your account was moved to another address on { $moment }. Mails come to that one from now on.
mail-email-changed-not-you = If that was you, you need not do anything. If not, undo it: your account has this address again, everybody is signed out, and you choose a new password.
mail-email-changed-button = Undo the change
mail-email-changed-until = The link works until { $moment }.
mail-deletion-subject = Your account will be deleted
mail-deletion-preview = Until then you can call it off.
mail-deletion-lead = As somebody, you we hope, asked for, your account will be deleted on { $moment }, with everything we keep about you.
mail-deletion-not-you = If you want to keep it, or if it was not you, call it off:
mail-deletion-button = Keep my account
mail-deletion-sign-in = Signing in calls it off, too. If it was not you, choose a new password afterwards.
mail-already-subject = You already have an account
mail-already-preview = Somebody registered with your address. Nothing has changed.
mail-already-lead = Somebody has just registered with this address, but you already have an account. Nothing about it has changed.
mail-already-you = If that was you, simply sign in:
mail-already-button = Sign in
mail-already-not-you = If it was somebody else, you need not do anything: they have learned nothing about you, and your password has not changed.
