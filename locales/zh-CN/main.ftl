# 人会读到的每一句话，简体中文。各语言的键与占位符必须一致，有测试比对。

# 每个页面的框架

skip-link = 跳到正文
nav-label = 主导航
nav-home = Bellhop，返回首页
nav-sign-in = 登录
nav-register = 注册
nav-account = 我的账号
footer-languages = 语言
footer-mailbox = 本地邮箱
footer-api = API
error-title = 请修改：{ $title }
errors-heading = 有些内容需要修改
language-own-name = 简体中文

# 时长

span-seconds = { $number } 秒
span-minutes = { $number } 分钟
span-hours = { $number } 小时
span-days = { $number } 天

# 表单字段

field-name = 姓名
field-name-hint = 您希望我们怎样称呼您。
field-email = 邮箱地址
field-new-email = 新邮箱
field-email-hint = 我们会发送一封邮件，点开其中的链接即可完成注册。
field-new-password = 新密码
field-current-password = 当前密码
field-password = 密码
field-new-password-hint = 至少 15 个字符。用几个不相干的词连成一句，好记又难猜。
password-show = 显示密码
password-hide = 隐藏密码

# 填写有误时

mistake-form = 无法读取这份表单，请重新填写。
mistake-name-missing = 请填写姓名。
mistake-name-long = 姓名太长，请控制在 100 个字符以内。
mistake-name-characters = 姓名里有无法显示的字符，请重新输入。
mistake-email-missing = 请填写邮箱地址。
mistake-email-invalid = 这不像是邮箱地址，正确的格式如 name@example.org。
mistake-email-letters = @ 之前只能使用英文字母、数字和常用符号：许多邮件服务器不支持其他字符。
mistake-email-long = 这个地址超出了邮箱地址允许的长度。
mistake-email-same = 这已经是您现在的邮箱。
mistake-language = 请从列出的语言中选择。
mistake-password-missing = 请设置密码。
mistake-password-current = 这不是您当前的密码，请重新输入。
mistake-password-chosen = 请输入注册时设置的密码。
mistake-password-short = 密码不足 15 个字符，再加一两个词就够了。
mistake-password-long = 密码超过了 256 个字符，请缩短一些。
mistake-password-common = 这个密码在攻击者最先尝试的名单里，请换一个。
mistake-password-personal = 这个密码与您的姓名、邮箱或本站名称太接近，请换一个。
mistake-password-weak = 这个密码容易被猜到。几个互不相干的词连在一起会更安全。
mistake-password-characters = 密码可以包含除空字符（NUL）以外的任何字符，请重新输入。

# 首页

home-title = 欢迎
home-headline-1 = 先办入住，
home-headline-2 = 行李随后就到。
home-lead = Bellhop 让您当场完成注册，之后随时登录。确认邮件这类需要时间的事由我们随后送达，您交给我们的一件也不会丢。
home-signed-in = 您已登录：{ $name }。
home-how = 三步即可
home-step-1 = 登记
home-step-1-text = 姓名、邮箱，再加一句只有您知道的密码。
home-step-2 = 收信
home-step-2-text = 带链接的邮件会自动寄出，走到哪一步随时可见。
home-step-3 = 取钥匙
home-step-3-text = 点一下按钮确认邮箱，即可进门。

# 注册

register-title = 创建账号
register-lead = 填好三行，即刻入住。
register-submit = 创建账号
register-other = 已有账号？
register-other-link = 登录

# 注册之后

sent-title = 请查收邮件
sent-lead = 我们正在给这个邮箱发邮件。请点开邮件中的链接，确认邮箱属于您。
sent-lead-unknown = 注册后，我们会给您的邮箱发一封邮件。请点开其中的链接，确认邮箱属于您。
sent-progress = 邮件走到哪一步了
sent-step-1 = 已登记
sent-step-2 = 寄送中
sent-step-3 = 已交付
delivery-unknown = 在这个浏览器里看不到邮件的进度。如果您刚刚注册，请过一两分钟查看收件箱。
delivery-queued = 邮件正在路上，马上就会发出。
delivery-sent = 邮件已于 { $time } 交给邮件服务器。请查收收件箱；如果没有，请看看垃圾邮件箱。
delivery-sent-here = 尚未配置邮件服务器，邮件已放入本机的本地邮箱，请在那里打开。
delivery-sent-nowhere = 本站尚未配置邮件服务器，邮件无法送达您的邮箱。请告知网站管理员。
delivery-delayed = { $why }{ $next }
delivery-delayed-unreachable = 我们的邮件服务器暂时没有响应。
delivery-delayed-later = 邮件服务器要我们稍后再来。
delivery-delayed-ours = 邮件服务器暂时不接收我们的邮件。这要由我们解决，网站的管理者已得到通知。
delivery-next-try = 我们会继续尝试，下一次约在 { $time }。您什么都不必做，等待期间链接一直有效。
delivery-keep-trying = 我们会继续尝试。您什么都不必做，等待期间链接一直有效。
delivery-rejected = 邮件服务器拒收这个地址，我们的邮件无法送达。请更正地址。
delivery-confirmed = 您的邮箱已确认，马上就带您进去。
sent-mailbox = 打开本地邮箱
sent-wrong = 邮箱填错了？
sent-correct = 更正邮箱
sent-correct-hint = 邮件会马上寄往那里，寄往原地址的链接随即失效。姓名和密码保持不变。
sent-keep = 地址没有写错
sent-again = 再发一次

# 确认邮箱

confirm-title = 确认邮箱
confirm-lead = 点一下按钮，账号就可以使用了。
confirm-password-lead = 这不是您注册时使用的浏览器。请输入当时设置的密码，以确保只有您本人能开通账号。
confirm-submit = 确认我的邮箱
confirm-password-wrong = 这不是注册时设置的密码，请重试。
confirmed-title = 您的邮箱已确认
confirmed-lead = 这里没有别的事要办了。
confirmed-lead-sign-in = 只差登录这一步了。
confirm-invalid-title = 这个链接已无法使用
confirm-invalid-lead = 它可能已经过期，或者不完整。如果您已确认过邮箱，请直接登录；如果还没有，请重新注册。

# 登录与退出

login-title = 登录
login-lead = 欢迎回来。
login-submit = 登录
field-keep = 在此设备上保持登录
field-keep-hint = 请不要在与他人共用的设备上勾选。
login-refused = 登录未成功，请检查邮箱和密码。如果您刚刚注册，请先确认邮箱。
login-too-often = 短时间内未成功的登录太多。请在 { $wait }后再试，或者获取链接设置新密码。
login-forgotten = 忘记密码？
login-forgotten-link = 获取链接
login-other = 第一次来？
login-other-link = 创建账号
sign-out = 退出登录

# 找回密码

forgot-title = 忘记密码？
forgot-lead = 请填写您的邮箱，我们会把设置新密码的链接发过去。
forgot-submit = 发送链接
forgot-other = 又想起来了？
forgot-sent-lead = 我们正在给这个邮箱发邮件。如果您在这里有账号，邮件中会有一个 { $lifetime }内有效的链接。
disown-title = 不是您本人？
disown-lead = 按一下即可让该设备退出。随后我们会给您发邮件，内含设置新密码的链接。
disown-submit = 让它退出并发送链接
disown-invalid-lead = 链接可能已过期或不完整。为安全起见，请设置新密码。
reset-title = 设置新密码
reset-lead = 设置后，您会在所有设备上退出，请用新密码登录。
reset-submit = 设置密码
reset-invalid-lead = 它可能已经过期、已被使用，或者不完整。请重新获取一个。
reset-again = 重新获取链接

# 刚刚办好的事

notice-password-reset = 新密码已设置，您已在所有设备上退出。请用新密码登录。
notice-password-changed = 密码已更改。除此处外，您已在所有设备上退出。
notice-email-changed = 账号已改用新邮箱。今后请用它登录。
notice-email-withdrawn = 已撤回这次更改：那封邮件中的链接不再有效。
notice-email-undone = 账号已恢复使用这个邮箱，所有会话都已退出。更改它的人知道您的密码，请设置新密码。
notice-restored = 已取消删除账号，一切照旧。
notice-session-ended = 该会话已结束。
notice-sessions-ended = 其他会话已全部结束。
notice-mail-asked-again = 已请求再发一封邮件。每个地址每小时和每天只能收到有限的几封：如果没有收到，请稍后再试。
notice-address-corrected = 地址已更正。原来的链接不再有效。
notice-confirmed = 您的邮箱已确认。请用您选择的密码登录。

# 更改姓名和语言

profile-title = 姓名与语言
profile-submit = 保存
notice-profile-changed = 已保存。

# 更改邮箱

email-title = 更改邮箱
email-lead = 我们会向新邮箱发送一个链接，使用链接之前什么也不会改变。更改之后会通知现在的邮箱，它在 { $span }内可以撤销更改。
email-submit = 向新邮箱发送邮件
email-waiting-lead = 使用邮件中的链接后，账号就会改用该邮箱。在此之前仍使用 { $email }。
email-withdraw = 撤回这次更改
email-another = 或者换一个邮箱
email-confirm-title = 账号改用这个邮箱？
email-confirm-lead = 今后请用这个邮箱登录，邮件也会发到这里。
email-confirm-submit = 使用这个邮箱
email-done-title = 账号已使用这个邮箱
email-invalid-lead = 它可能已经过期，或已被后来的更改取代。如果您已经使用过它，请用新邮箱登录。
email-undo-title = 这是您的账号吗？
email-undo-lead = 您的账号已改用另一个邮箱。撤销后，账号会恢复使用这个邮箱，所有会话都会退出，然后请您设置新密码。
email-undo-submit = 撤销更改
email-undo-invalid-lead = 它可能已经过期或已被使用，或者有人用这个邮箱开了另一个账号。如果账号已不归您掌握，请联系本站的管理者。

# 删除账号与导出数据

account-change-email = 更改邮箱
account-yours = 您的数据
account-yours-lead = 我们保存的关于您的一切，您都可以带走，也可以要求删除。
account-deletes = 您的账号将于 { $moment } 删除。
delete-title = 删除账号
delete-lead = 账号会在 { $span }后删除，连同我们保存的关于您的一切。在此之前您可以取消：在这里、用我们寄出的链接，或者直接登录。
delete-submit = 删除我的账号
restore-title = 保留账号？
restore-lead = 它将于 { $moment } 删除。
restore-submit = 保留我的账号
restore-invalid-lead = 它可能已被使用，或者账号已经删除。如果您还能登录，账号就还在。
export-title = 下载您的数据
export-lead = 距您上次输入密码已有一段时间，请再输入一次。
export-submit = 下载

# 更改密码

password-title = 更改密码
password-lead = 您在这里保持登录，在其他设备上会退出。
password-submit = 更改密码
password-forgotten = 忘记当前密码？
password-forgotten-link = 获取链接

# 登录的设备

sessions-title = 登录的设备
sessions-lead = 不认识的或不再需要的会话，请在这里结束。
sessions-ask-lead = 您登录已有一段时间。请输入密码，确认是您本人要结束会话。
sessions-begun = 开始
sessions-seen = 最近使用
sessions-end = 结束
sessions-end-others = 结束其他全部

# 账号

account-title = 我的账号
account-greeting = { $name }，您好。
account-details = 登记信息
account-name = 姓名
account-email = 邮箱地址
account-since = 入住时间
account-profile = 更改姓名或语言
account-password = 更改密码
account-sessions = 登录的设备
account-language = 语言
activity-title = 最近登录
activity-lead = 每一次登录和每一次尝试都在这里，最近的排在最前。
activity-all = 全部记录
activity-page-title = 登录记录
activity-show-refused = 只看未通过的
activity-show-all = 显示全部
activity-none = 没有这样的记录。
activity-older = 更早
activity-newest = 最新
activity-told = 列表中新增了一次登录。
activity-when = 时间
activity-what = 事件
activity-device = 设备
activity-ip = IP 地址
activity-mark-ok = 正常：
activity-mark-refused = 未通过：
activity-present = 您正在使用的会话

# 事件的说法

activity-user-confirmed = 确认邮箱并登录
activity-password-changed = 更改密码
activity-email-changed = 更改了邮箱
activity-deletion-scheduled = 要求删除账号
activity-restored = 取消删除账号
activity-login-succeeded = 登录成功
activity-login-failed = 登录未通过
activity-login-failed-password = 登录未通过：密码错误
activity-login-failed-disabled = 登录未通过：账号已停用
device-on = { $system } 上的 { $browser }
device-unknown = 未知设备

# 本地邮箱

mailbox-title = 本地邮箱
mailbox-lead = 尚未配置邮件服务器，所有邮件都留在这里，只能在本机阅读。
mailbox-empty = 还没有邮件。下一次注册的邮件会出现在这里。
mailbox-subject = 主题
mailbox-to = 收件人
mailbox-at = 收到时间
mailbox-back = 全部邮件

# API 页面

api-title = API
api-lead = 页面能做的，程序也都能做：收发均为 JSON，出错时返回 RFC 9457 问题详情。
api-document = OpenAPI 3.1 文档
api-path = 路径
api-summary = 用途

# 出了问题时

problem-home = 返回首页
problem-400-title = 无法读取这个请求
problem-400-detail = 请求内容不完整或格式有误。请返回、刷新页面后再试。
problem-403-title = 您无法使用这里
problem-403-detail = 请求似乎来自其他网站，或者您的账号没有这项权限。请刷新页面后再试。
problem-404-title = 这里什么也没有
problem-404-detail = 页面可能已经移走，或者地址有误。
problem-405-title = 这个地址不支持该操作
problem-405-detail = 页面是有的，但不能这样使用。请从首页重新开始。
problem-413-title = 一次送来的太多了
problem-413-detail = 提交的内容超出了这个页面的限制，请缩短后再试。
problem-415-title = 无法识别这种格式
problem-415-detail = 这个地址不接受该请求的内容类型。
problem-421-title = 这不是我们的地址
problem-421-detail = 请求指向了本站不负责的主机。请使用您得到的网址访问。
problem-429-title = 请稍等片刻
problem-429-detail = 短时间内来自您所在网络的请求太多。请等一分钟再试。
problem-429-wait = 短时间内来自您所在网络的请求太多。请在 { $wait }后再试。
problem-500-title = 我们这边出错了
problem-500-detail = 错误已经记录下来，交由本站的管理者处理。请稍后再试。
problem-503-title = 人手正忙
problem-503-detail = 此刻要处理的事情太多。请过几秒再试。

# 邮件

mail-greeting = { $name }，您好：
mail-greeting-plain = 您好：
mail-automatic = 这个邮箱曾在 { $site } 填写，或属于那里的账号，因此收到此邮件。请勿直接回复。
mail-paste = 如果按钮没有反应，请把下面的地址复制到浏览器：
mail-link-expiry = 链接在 { $lifetime }内有效，只能使用一次。
mail-confirmation-subject = 请确认您的邮箱
mail-confirmation-preview = 点一下按钮，账号就可以使用了。
mail-confirmation-lead = 您的账号就快准备好了。请确认这个邮箱属于您：
mail-confirmation-button = 确认我的邮箱
mail-confirmation-not-you = 如果不是您注册的，无需理会。不打开链接，账号就不会建立。
mail-reminder-subject = 您的注册还在等您
mail-reminder-preview = 点一下按钮，账号就可以使用了。
mail-reminder-lead = 前些时候有人（希望是您本人）用这个邮箱注册，但还没有确认。链接再次有效：
mail-reminder-not-you = 如果不是您注册的，请忽略这封邮件。不会再有提醒，该注册将于 { $moment } 删除。
mail-reset-subject = 设置新密码的链接
mail-reset-preview = 链接只能使用一次，且很快失效。
mail-reset-lead = 有人（希望是您本人）忘记了您账号的密码。请在这里设置新密码：
mail-reset-button = 设置新密码
mail-reset-not-you = 如果不是您本人，请忽略这封邮件：您的密码没有改变。
mail-no-account-subject = 这个邮箱没有账号
mail-no-account-preview = 有人要求设置新密码。
mail-no-account-lead = 有人要求设置新密码，并填写了这个邮箱，但没有账号使用它。
mail-no-account-you = 如果是您本人，您可能是用另一个邮箱注册的。您也可以创建账号：
mail-no-account-button = 创建账号
mail-no-account-not-you = 如果是别人，请忽略这封邮件。
mail-sign-in-device-subject = 有新设备登录了您的账号
mail-sign-in-device-lead = 有人用以前没有登录过的设备或浏览器登录了您的账号。
mail-sign-in-failures-subject = 有人在多次尝试后登录了您的账号
mail-sign-in-failures-lead = 有人在多次输错密码后登录了您的账号。
mail-sign-in-facts = { $device }，时间：{ $moment }，网络地址：{ $ip }。
mail-sign-in-not-you = 如果是您本人，无需任何操作。如果不是，请立即让该设备退出并设置新密码：
mail-sign-in-button = 这不是我
mail-password-changed-subject = 您的密码已更改
mail-password-changed-preview = 您已在其他设备上退出。
mail-password-changed-lead = 您账号的密码已于 { $moment } 更改。用旧密码登录的所有会话都已退出。
mail-password-changed-not-you = 如果是您本人，无需任何操作。如果不是，请立即设置新密码：
mail-password-changed-button = 设置新密码
mail-email-change-subject = 请确认您的新邮箱
mail-email-change-preview = 确认之前，什么也不会改变。
mail-email-change-lead = 有人（希望是您本人）想让账号改用这个邮箱。请确认它属于您：
mail-email-change-button = 使用这个邮箱
mail-email-change-not-you = 如果不是您本人，请忽略这封邮件：不使用链接，什么也不会改变。
mail-email-taken-subject = 您在这里已经有账号了
mail-email-taken-lead = 有人想让账号改用这个邮箱，但它已经有账号了。您的账号没有任何变化。
mail-email-taken-you = 如果是您本人，请登录这个邮箱的账号：
mail-email-changed-subject = 您的邮箱已更改
mail-email-changed-preview = 如果不是您本人，可以撤销。
mail-email-changed-lead = 您的账号已于 { $moment } 改用另一个邮箱，今后的邮件会发到那里。
mail-email-changed-not-you = 如果是您本人，无需任何操作。如果不是，请撤销：账号会恢复使用这个邮箱，所有会话都会退出，然后请您设置新密码。
mail-email-changed-button = 撤销更改
mail-email-changed-until = 链接在 { $moment } 之前有效。
mail-deletion-subject = 您的账号将被删除
mail-deletion-preview = 在此之前您可以取消。
mail-deletion-lead = 有人（希望是您本人）要求删除账号。它将于 { $moment } 删除，连同我们保存的关于您的一切。
mail-deletion-not-you = 如果您想保留账号，或者不是您本人要求的，请取消：
mail-deletion-button = 保留我的账号
mail-deletion-sign-in = 登录也会取消删除。如果不是您本人要求的，之后请设置新密码。
mail-already-subject = 您已经有账号了
mail-already-preview = 有人用您的邮箱注册。您的账号没有任何变化。
mail-already-lead = 刚才有人用这个邮箱注册，而您已经有账号了。您的账号没有任何变化。
mail-already-you = 如果是您本人，直接登录即可：
mail-already-button = 登录
mail-already-not-you = 如果不是您，无需理会。对方没有得到您的任何信息，您的密码也没有改变。
