// Package actions does to a cell in AWS what a grant needs, and reads back what
// it did: [AWS.Check] looks, [AWS.Open] opens access, [AWS.Watch] looks at what
// is open, [AWS.Close] does one round of closing it. Two look without knowing any
// grant: [AWS.Survey] every few minutes at whom the role trusts, [AWS.Inspect] at
// everything that is open. It speaks to people in the words of package grant; the
// types of the AWS SDK stop here.
//
// It remembers nothing that matters. Everything is read from AWS each time, and
// every step reads first, writes only what differs, and reads back: so each may
// be run again, by another process, after a crash between any two calls.
//
// # What it never does
//
//   - It never opens what it could not prove to be logged, or without an end that
//     AWS enforces (unless the terms say so).
//   - It never does what was not shown: where the plan is another one when it
//     comes to opening, people are asked again.
//   - It never takes what it could not read for as it should be, and an empty
//     event history never for "nobody has tried".
//   - It never changes what is not ours: every other statement of a trust policy
//     and every other setting of the preferences keeps its bytes. The exceptions
//     take access away: a closing grant's principal goes wherever it stands, so
//     does trust that a person has had removed, and deleted principals go when
//     they block that.
//   - It never moves a region's session logs from one group to another unless
//     everybody who approved has agreed to exactly that. (An emergency has no
//     approvers; everybody is told of it.)
//   - It never switches session logging off, never starts or stops an instance,
//     never creates a role or a log group, and never writes with credentials of
//     another account than the cell's.
//   - It never shows people an error of the SDK. Errors are sorted once, in
//     errors.go, and logged.
//
// # Invariants
//
//   - Logging before the hard stop, the hard stop before the trust: at no moment
//     is there access that is not logged and that nothing ends.
//   - The trust before the credentials: what comes in behind a cut-off would live.
//   - Sections that read, change and write one role never overlap in a process,
//     and no lock is held while waiting for anything but AWS's next answer. Writes
//     to IAM and to the preferences are never repeated by the SDK; a write whose
//     answer was lost is looked up.
//   - An end is never later than now and the grant's duration; opening again after
//     a crash keeps the end that stands.
//
// # Traps
//
// What AWS does here that one does not expect, where it says so, and the test
// that holds our answer. 1 to 8 are the worst. Tests of package trust, which
// edits the documents, are listed with the others.
//
//	trap (source)                                                 test
//	1  Taking out the trust statement leaves issued               TestStory_vendorComesAndGoes,
//	   credentials and open shells alive (IAM User Guide,         TestClose_slowPropagation,
//	   "Revoke IAM role temporary security credentials";          TestClose_sessionsThatComeBack
//	   SSM User Guide, "Working with Session Manager")
//	2  One deleted principal in any statement makes IAM refuse    TestClose_orphans,
//	   every write, a revocation's too (IAM User Guide, "AWS      TestClose_vendorsRoleIsGone,
//	   JSON policy elements: Principal")                          TestOpen_refused
//	3  Session logging fails open; only encryption enforced on    TestLogging_states,
//	   a group that has a key fails closed, and without a key     TestOpen_refused,
//	   it stops every session of the region (SSM User Guide,      TestCheck_findings
//	   "Logging session activity"; amazon-ssm-agent, shell.go)
//	4  The preferences are one document for a whole account       TestOpen_redirectNeedsAYes,
//	   and region; what they log to now is somebody's (SSM        TestOpen_coveredARedirection,
//	   User Guide, "Update Session Manager preferences            TestLogging_somebodyElseSavesToo,
//	   (command line)")                                           TestLogging_overwroteSomebodyElse
//	5  Sessions use the latest version of it, the console         TestLogging_states,
//	   shows the default one (session-manager-plugin issue 112)   TestCheck_findings
//	6  A Deny * on a role that is the instance's own cuts off     TestClose_sparesTheInstance
//	   the agent (IAM User Guide, "AWS global condition context
//	   keys", ec2:SourceInstanceARN)
//	7  UpdateAssumeRolePolicy overwrites blindly (IAM API         TestOpen_humanEditsMeanwhile,
//	   Reference)                                                 TestOpen_overwrittenAtOnce,
//	                                                              TestOpen_sideBySideWithStaleReads
//	8  Who may write the role's trust and policies may become     the account is compared before any
//	   it; so the bot works in the cell's account alone           write: TestOpen_refused,
//	                                                              TestClose_wrongAccount
//	9  A lost answer may be a write that was done (AWS SDKs       TestOpen_answerLost,
//	   guide, "Retry behavior")                                   TestClose_answerLost,
//	                                                              TestConformance_faults
//	10 IAM is eventually consistent (IAM User Guide,              TestOpen_staleReads,
//	   "Troubleshoot IAM")                                        TestClose_slowPropagation
//	11 A cut-off reaches into the future, and would kill what     TestOpen_rightAfterARevocation
//	   the next grant's vendor is issued meanwhile
//	12 A principal is validated on write, and a new role is not   TestOpen_principalUnknownToIAM
//	   known at once (IAM User Guide, "Troubleshoot IAM")
//	13 Policies have a quota, white space not counted (IAM and    TestOpen_quotaIsExact,
//	   AWS STS quotas)                                            TestOpen_quotaUnknown,
//	                                                              TestOpen_prunesOurEndedStatements
//	14 A policy without statements is refused, and a Deny in      TestClose_lastStatement
//	   its place would defeat the vendor's own procedure
//	15 Names match by prefix (DescribeLogGroups) and by tag in    TestOpen_refused,
//	   two cells alike (DescribeInstances)                        TestCheck_instanceByCluster
//	16 A role's ARN has a path that its sessions' do not (IAM     TestOpen_findsTheRole
//	   User Guide, "IAM identifiers")
//	17 Active sessions include disconnected ones, come in pages,  TestClose_onlyTheRolesSessions,
//	   and end while one looks (SSM API Reference,                TestClose_manySessions,
//	   DescribeSessions); that one was told to end says nothing   TestClose_sessionEndedMeanwhile,
//	                                                              TestClose_sessionInNoValidState,
//	                                                              TestClose_terminateThatEndsNothing
//	18 A content that a document has had before is refused, a     TestLogging_states,
//	   version takes a while to become active and is not used     TestLogging_versionNotActiveYet,
//	   until then, there are only so many (SSM API Reference,     TestLogging_thousandVersions,
//	   UpdateDocument)                                            TestLogging_refusals
//	19 Ending one grant must not end another's (overlap on one    TestClose_anotherGrantOfTheSamePrincipal,
//	   role)                                                      TestClose_hardStopFollows,
//	                                                              TestClose_whileAnotherArrives
//	20 IAM throttles; many grants may end in one second           TestClose_manyAtOnce,
//	                                                              TestOpen_throttled
//	21 Somebody's Terraform puts a revoked statement back         TestClose_statementComesBack
//	22 A statement of somebody's may trust more than we can       TestClose_tooWideForUs,
//	   take out: then nothing is closed                           TestOpen_refused
//	23 IAM has one control plane; Systems Manager goes on         TestClose_stepsAreIndependent
//	   without it
//	24 A role may be deleted with sessions open                   TestClose_roleIsGone
//	25 Plain http carries credentials in the clear                TestNew_refusesPlainHTTP
//	26 A policy may have any shape that the grammar allows: an    TestOpen_anyShape,
//	   object for a list, strings for lists, keys in any order,   TestParse_shapes, TestParse_refuses,
//	   unknown ones (IAM User Guide, "Grammar of the IAM JSON     TestProperty_putAndRemoveGiveTheBytesBack,
//	   policy language"); what is foreign keeps every byte        TestProperty_reformattedInBetween,
//	                                                              TestConformance_twice
//	27 A person may have put the vendor's role in a statement of  TestClose_principalThatAHumanPut,
//	   their own, as the vendor's procedure says                  TestCheck_findings, TestInspect
//	28 Some roles only AWS may change, and a boundary limits      TestOpen_refused,
//	   what a role can do (IAM User Guide, "Roles terms and       TestCheck_findings
//	   concepts")
//	29 Other partitions have other ARNs and another IAM (AWS      TestPartitions_openAndClose,
//	   General Reference, "Amazon Resource Names (ARNs)")         TestPartitions_principalOfAnother
//	30 A crash may come between any two calls                     TestConformance_crash,
//	                                                              TestOpen_crashWhileRedirecting
//	31 The world goes on between the decision and the opening     TestOpen_notWhatWasApproved,
//	                                                              TestOpen_lessThanWasApproved,
//	                                                              TestOpen_redirectedMeanwhile,
//	                                                              TestOpen_changesAfterTheCheck
//	32 SimulatePrincipalPolicy sees neither trust policies nor    TestCheck_findings,
//	   resource control policies (IAM API Reference): advice      TestCheck_throttled
//	33 Role chaining ends after an hour (IAM User Guide, "Roles   TestOpen_assumesTheCellsRole,
//	   terms and concepts"); each write carries the grant's id    TestCalls_nameTheGrant
//	34 Port forwarding, SSH and commands are never logged, and a  TestWatch_unloggedSessions
//	   session may be without its stream (SSM User Guide,
//	   "Logging session activity")
//	35 Terraform and people change what is open: the statement,   TestWatch_drift,
//	   the hard stop, the logging, the bot's permissions          TestWatch_permissionLost
//	36 What looks like a change may only be another layout, an    TestWatch_noDrift,
//	   old replica, or another grant of ours                      TestWatch_staleReads,
//	                                                              TestWatch_overwrittenByUs,
//	                                                              TestWatch_redirectedByAnotherCell
//	37 A vendor's role that is made anew has the same ARN and is  TestWatch_vendorsRoleMadeAnew,
//	   not trusted (IAM User Guide, "AWS JSON policy elements:    TestWatch_roleMadeAnew
//	   Principal")
//	38 CloudTrail is late, regional, asked at most twice a        TestWatch_whoAssumed,
//	   second, and tells nothing of another account's refused     TestWatch_trailRegions,
//	   attempts (CloudTrail User Guide; IAM User Guide, "Logging  TestWatch_trailIsOnlyAdvice,
//	   IAM and AWS STS API calls with AWS CloudTrail")            TestWatch_manyRoles
//	39 A read that fails says nothing                             TestWatch_throttled,
//	                                                              TestSurvey_trouble,
//	                                                              TestConformance_faults
//	40 Trust may stand there that no grant explains: put by hand, TestSurvey_whoIsTrusted,
//	   put back by Terraform, or left over from a lost database   TestSurvey_putBackAfterTheEnd,
//	                                                              TestClose_adopted
//	41 It may name a whole account, a user, a session, or         TestRemoval_everyForm,
//	   somebody deleted (IAM User Guide, "AWS JSON policy         TestRemoval_stillTrustedByWiderOnes,
//	   elements: Principal"), and has let in whom it names        TestRemoval_endsWhatItLetIn,
//	                                                              TestRemoval_crash, TestRemoval_faults
//	42 What an old replica shows of it has gone already           TestSurvey_staleReads,
//	                                                              TestRemoval_staleReads
//	43 What one grant ends another may still need, and an id may  TestRemoval_anotherGrantIsOpen,
//	   be given again                                             TestRemoval_idGivenAgain
//	44 The SDK would try a call for minutes, and write it twice   TestCalls_limits,
//	   (AWS SDKs guide, "Retry behavior")                         TestClose_iamHangs
package actions
