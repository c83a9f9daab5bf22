# People who register, read their mail and sign in, by the JSON API and Mailpit's. Sourced by scripts/container.
# shellcheck shell=bash disable=SC2034,SC2154 # variables go from one file to the other

mailbox=http://127.0.0.1:8025
password='marble teapot kestrel orbit'
accepted=() # whose registration was answered with 202
declare -A confirmed=() # of these, who has used the link
missing= # those of the accepted whose mail is not there, while it is waited for
logins=0 # of ada

# ask PERSON ARGUMENTS...: prints the status, 000 if nobody answers; the answer lies in $work/answer.
ask() {
  local jar=$work/$1.jar
  shift
  : >"$work/answer"
  curl --silent --max-time 30 --output "$work/answer" --write-out '%{http_code}' --cookie "$jar" --cookie-jar "$jar" "$@" || true
}

# must_give STATUS WHAT ARGUMENTS...: asks, and ends all if the answer is another.
must_give() {
  local expected=$1 what=$2 status
  shift 2
  status=$(ask "$@")
  [[ $status == "$expected" ]] || die "$what: $status instead of $expected: $(head -c 500 "$work/answer")"
}

# register_gives STATUS PERSON...
register_gives() {
  local status=$1 person
  shift
  for person in "$@"; do
    must_give "$status" "registration of $person" "$person" "$site/api/v1/register" --json \
      "{\"email\": \"$person@example.org\", \"password\": \"$password\", \"name\": \"$person\"}"
    [[ $status != 202 ]] || accepted+=("$person")
  done
}

# Everyone's mail is there. Leaves what Mailpit says in $work/mails.
all_mails_came() {
  curl --silent --fail --max-time 10 --output "$work/mails" "$mailbox/api/v1/messages?limit=1000" || return
  missing=$(jq -r '[.messages[].To[].Address] as $came | $ARGS.positional[] | select(. + "@example.org" | IN($came[]) | not)' \
    "$work/mails" --args "${accepted[@]}")
  [[ -z $missing ]]
}

# Retries wait ten seconds at first, then a minute.
everybody_signs_in() {
  local person
  missing=everybody
  await 180 "mails of all who were accepted" all_mails_came
  for person in "${accepted[@]}"; do
    if [[ -z ${confirmed[$person]:-} ]]; then
      confirm "$person"
      sign_in "$person"
    elif [[ $person == ada ]]; then
      sign_in ada
    fi
  done
}

confirm() {
  local id token
  id=$(jq -r --arg to "$1@example.org" 'first(.messages[] | select(any(.To[]; .Address == $to)).ID)' "$work/mails")
  curl --silent --fail --max-time 10 --output "$work/mail" "$mailbox/api/v1/message/$id" || die "the mail of $1 cannot be read"
  token=$(jq -r .Text "$work/mail" | grep -o 'token=[A-Za-z0-9_-]*' | head -n 1 | cut -d = -f 2) || die "no link in the mail of $1"
  must_give 204 "confirmation of $1" "$1" "$site/api/v1/confirm" --json "{\"token\": \"$token\"}"
  confirmed[$1]=yes
}

# As from another browser: nothing but the address and the password.
sign_in() {
  rm -f "$work/$1.jar"
  must_give 200 "sign-in of $1" "$1" "$site/api/v1/login" --json "{\"email\": \"$1@example.org\", \"password\": \"$password\"}"
  must_give 200 "the account of $1" "$1" "$site/api/v1/me"
  jq -e --arg email "$1@example.org" '.user.email == $email' "$work/answer" >/dev/null || die "$1 is taken for somebody else"
  [[ $1 != ada ]] || logins=$((logins + 1))
}

log_is_whole() {
  [[ $(ask ada "$site/api/v1/me/activity?limit=100") == 200 ]] &&
    (($(jq '[.items[] | select(.type == "login.succeeded")] | length' "$work/answer") >= logins))
}

# Mails came at least once, and a second copy is the same mail; rows of the login log came exactly once.
everything_once() {
  local twice rows
  all_mails_came || die "no mail any more for: $missing"
  jq -e '.messages | group_by(.To[0].Address) | all(map(.MessageID) | unique | length == 1)' "$work/mails" >/dev/null ||
    die "somebody has two different mails: $(jq -c '.messages | map([.To[0].Address, .MessageID])' "$work/mails")"
  twice=$(jq '(.messages | length) - (.messages | map(.To[0].Address) | unique | length)' "$work/mails")
  await 60 "all $logins sign-ins of ada in her login log" log_is_whole
  rows=$(jq '[.items[] | select(.type == "login.succeeded")] | length' "$work/answer")
  ((rows == logins)) || die "ada signed in $logins times, and her login log has $rows rows"
  summary="${#accepted[@]} registrations accepted, a mail for each ($twice sent twice), ${#confirmed[@]} confirmed and signed in, $logins rows for $logins sign-ins"
}
