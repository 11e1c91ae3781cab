# What breakglass needs in AWS, made by `breakglass policy --terraform`.

# For what the bot itself runs as in account 444455556666, for helios-prod.
# Attach it to that role or user; --principal ARN writes that, too.
resource "aws_iam_policy" "breakglass_444455556666" {
  name        = "breakglass"
  description = "What breakglass itself may do"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "OpenAndClose"
        Effect = "Allow"
        Action = [
          "iam:GetRole",
          "iam:GetRolePolicy",
          "iam:PutRolePolicy",
          "iam:UpdateAssumeRolePolicy",
        ]
        Resource = [
          "arn:aws:iam::444455556666:role/ssm-access-from-other-accounts-helios-prod",
          "arn:aws:iam::444455556666:role/*/ssm-access-from-other-accounts-helios-prod",
          "arn:aws:iam::444455556666:role/ssm-access-from-other-accounts",
          "arn:aws:iam::444455556666:role/*/ssm-access-from-other-accounts",
        ]
      },
      {
        Sid    = "AskWhatRolesMayDo"
        Effect = "Allow"
        Action = [
          "iam:SimulatePrincipalPolicy",
        ]
        Resource = [
          "arn:aws:iam::444455556666:role/*",
        ]
      },
      {
        Sid    = "ReadTheInstancesProfile"
        Effect = "Allow"
        Action = [
          "iam:GetInstanceProfile",
        ]
        Resource = [
          "arn:aws:iam::444455556666:instance-profile/*",
        ]
      },
      {
        Sid    = "ReadTheAccountsQuotas"
        Effect = "Allow"
        Action = [
          "iam:GetAccountSummary",
        ]
        Resource = [
          "*",
        ]
      },
      {
        Sid    = "SessionLogging"
        Effect = "Allow"
        Action = [
          "ssm:CreateDocument",
          "ssm:DescribeDocument",
          "ssm:GetDocument",
          "ssm:UpdateDocument",
          "ssm:UpdateDocumentDefaultVersion",
        ]
        Resource = [
          "arn:aws:ssm:us-east-1:444455556666:document/SSM-SessionManagerRunShell",
        ]
      },
      {
        Sid    = "EndSessions"
        Effect = "Allow"
        Action = [
          "ssm:TerminateSession",
        ]
        Resource = [
          "arn:aws:ssm:us-east-1:444455556666:session/*",
        ]
      },
      {
        Sid    = "FindTheLogGroup"
        Effect = "Allow"
        Action = [
          "logs:DescribeLogGroups",
        ]
        Resource = [
          "arn:aws:logs:us-east-1:444455556666:log-group:*",
        ]
      },
      {
        Sid    = "LookForLogs"
        Effect = "Allow"
        Action = [
          "logs:DescribeLogStreams",
        ]
        Resource = [
          "arn:aws:logs:us-east-1:444455556666:log-group:/aws/ssm/helios-prod/cluster:*",
        ]
      },
      {
        Sid    = "LookAround"
        Effect = "Allow"
        Action = [
          "ec2:DescribeInstances",
          "ssm:DescribeInstanceInformation",
          "ssm:DescribeSessions",
        ]
        Resource = [
          "*",
        ]
        Condition = {
          StringEquals = {
            "aws:RequestedRegion" = [
              "us-east-1",
            ]
          }
        }
      },
      {
        Sid    = "SeeWhoAssumedIt"
        Effect = "Allow"
        Action = [
          "cloudtrail:LookupEvents",
        ]
        Resource = [
          "*",
        ]
        Condition = {
          StringEquals = {
            "aws:RequestedRegion" = [
              "us-east-1",
            ]
          }
        }
      },
      {
        Sid    = "NeverComeInNorWidenTheRole"
        Effect = "Deny"
        Action = [
          "iam:Attach*",
          "iam:Delete*",
          "iam:Detach*",
          "iam:PassRole",
          "iam:PutRolePermissionsBoundary",
          "iam:TagRole",
          "iam:UntagRole",
          "iam:UpdateRole",
          "iam:UpdateRoleDescription",
          "sts:AssumeRole",
        ]
        Resource = [
          "arn:aws:iam::444455556666:role/ssm-access-from-other-accounts-helios-prod",
          "arn:aws:iam::444455556666:role/*/ssm-access-from-other-accounts-helios-prod",
          "arn:aws:iam::444455556666:role/ssm-access-from-other-accounts",
          "arn:aws:iam::444455556666:role/*/ssm-access-from-other-accounts",
        ]
      },
      {
        Sid    = "NeverOpenAShell"
        Effect = "Deny"
        Action = [
          "ssm:ResumeSession",
          "ssm:SendCommand",
          "ssm:StartAutomationExecution",
          "ssm:StartSession",
        ]
        Resource = [
          "*",
        ]
      },
    ]
  })
}
