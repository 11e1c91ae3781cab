// Package awssim is a local AWS. It speaks the wire protocols of IAM, STS, EC2,
// Systems Manager, CloudWatch Logs and CloudTrail, so that what is tested is the
// real AWS SDK client and not a stand-in for it, and it refuses what AWS refuses.
//
// A [World] holds accounts, and everything in them. Tests and the demo build it
// with plain methods, which act like a person in the console: at once, and
// unchecked.
//
//	w := awssim.New()
//	cell := w.NewCell(awssim.Cell{Name: "helios-prod"})
//	key := cell.Bot.Credentials()
//	client := ssm.NewFromConfig(aws.Config{
//		Region:       "us-east-1",
//		BaseEndpoint: aws.String("http://aws.invalid"),
//		HTTPClient:   w.HTTPClient(),
//		Credentials:  credentials.NewStaticCredentialsProvider(key.AccessKeyID, key.SecretAccessKey, key.SessionToken),
//	})
//
// There are two ways in. [World.HTTPClient] answers in the caller's goroutine,
// without sockets: all waiting is done with package time and the request's
// context, so that it works inside a testing/synctest bubble, where the fake
// clock drives every expiry. [World.Start] listens on a loopback port for whole
// programs that are pointed there by AWS_ENDPOINT_URL. A World is also an
// http.Handler.
//
// # What it is made to show
//
//   - Trust: who may assume a role, from when to when. Principals must exist,
//     are kept as unique ids, and become orphans.
//   - Credentials: every call made with a role's session is evaluated against
//     the role's policies of that moment, its time conditions included.
//   - Sessions: a [Shell] that is open outlives its credentials and ends only
//     when the session is terminated. Its log stream appears only if the
//     preferences, the log group and the instance's role let it.
//   - Failure: [Fault], [Knobs] and hooks make calls slow, lost before or after
//     their effect, refused, throttled, or answered from an old replica.
//
// # What it never does
//
// It never contacts anything, verifies signatures, or keeps anything beyond the
// World. It holds no secret worth keeping. It is not part of the production
// program.
//
// # Invariants
//
//   - One lock guards a World; no call waits, and no hook runs, while it is held.
//   - Every byte of a trust policy outside its AWS principals is kept.
//   - Hostile input gets a 4xx answer in the protocol of the service, never a
//     500 and never a panic. 500 comes from faults alone, because SDKs retry it.
//   - Ids are the same in every run that makes the same calls in the same order.
//
// FIDELITY.md lists each behaviour with its public source and says which ones
// are inference.
package awssim
